"""State machines that hypothesis drives: any sequence of operations keeps what is promised. No example tests here."""

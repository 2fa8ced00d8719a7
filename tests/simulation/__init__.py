"""Engine, store, platform, receivers and people in one process, on one clock, in an order drawn from one number.

Belongs here: a world that may go wrong at every call, and what must hold whatever it does. Does not belong here: real
time, threads, sockets, or anything that would make one seed tell two stories.
"""

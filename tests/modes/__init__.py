"""What the design's list of failures asks for, each shown through the composed app against the local world.

Belongs here: the whole of Tocsin over real HTTP, with a clock that the test moves. Does not belong here: parts alone.
"""

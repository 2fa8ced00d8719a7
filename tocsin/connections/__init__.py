"""How Tocsin connects: identities and clients that several adapters share.

Belongs here: credentials, HTTP and management clients, with their time-outs. Does not belong here: what is asked over a
connection, or what an answer means.
"""

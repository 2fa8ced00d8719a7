"""A stand-in for Azure, Teams and PagerDuty on one machine, good enough to play every story through.

Belongs here: servers that answer on loopback as the real services do, the faults they can be told to have, and the
stories played against them. Does not belong here: anything the deployed function imports.
"""

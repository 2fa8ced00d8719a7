"""Tocsin watches AI-agent systems in production, tells the right people, and acts by declared policy.

Importing any module of this package defines names and does nothing else: no file, environment or network is touched.
"""

__version__ = "0.1.0"

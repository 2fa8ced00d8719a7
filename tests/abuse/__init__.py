"""What an attacker, a flood or a broken part does to the watcher, while something real happens that nobody may miss.

Belongs here: the whole of Tocsin over real HTTP, on SQLite and Azurite, under abuse. Does not belong here: one input.
"""

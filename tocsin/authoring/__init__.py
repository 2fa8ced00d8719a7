"""What helps people write the files: schemas for editors, what every key means, a first rule, one way to lay it out.

Belongs here: what is made from the models and for authors. Does not belong here: reading files for the engine, and
anything that the deployed function needs.
"""

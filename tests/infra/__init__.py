"""Reads the Bicep under infra/ without its compiler: what it declares, what it means, and what its types say of it."""

"""Where state lives: one file a store.

Belongs here: adapters that pass ``testing.store_contract``. Does not belong here: any decision about what is stored.
"""

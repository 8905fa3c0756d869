"""Public sets of user interfaces: screens with elements and episodes of actions, in the formats that they have.

A module is a format, and its name is that of the format. It says how the records of a file are read and what each of
them says, with the convention of every number (`records.Place`); what becomes of it is the domain `gui.annotated`.
"""

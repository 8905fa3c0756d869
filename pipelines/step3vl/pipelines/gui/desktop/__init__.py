"""Recordings of desktop programs: real ones on a display of their own, with what their accessibility tree says.

A `DesktopRecorder` starts a `Program` in a `View`; a `DesktopProgram` is what explorers act on, as they do on a page:
`observe` gives a `Screen`, `act` performs an `Action`.

`session` starts the display, the bus, the window manager and the program; `bus` reads the accessibility tree (AT-SPI);
`hits` says which widget a click reaches; `screens` makes a `Screen` of all that; `keyboard_and_mouse` acts.
"""

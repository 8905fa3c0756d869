"""Recordings of graphical user interfaces: real pages in Chromium, what they show, and what actions do to them.

A `Recorder` opens a page of a `Site` in a `View`; a `GuiPage` is the environment: `observe` gives a `Screen`, `act`
performs an `Action` of the contract. Explorers and experts act and keep `Step`s with their observed effects as an
`Episode`. The domain `gui` asks questions about episodes.
"""

"""MiniWoB++: small tasks on web pages, as environments and with experts that do them.

The pages are those of the package `miniwob` (MIT), whose wheel is read as it is; nothing of it is installed or run but
its pages, in Chromium. github.com/Farama-Foundation/miniwob-plusplus
"""

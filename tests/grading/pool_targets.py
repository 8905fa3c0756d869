"""Functions that the workers of a pool run in the tests of it."""

import os
import time


def echo(value: object) -> object:
    return value


def behave(what: str) -> object:
    if what == "loop":
        while True:
            pass
    if what == "sleep":
        time.sleep(60)
    if what == "exit":
        os._exit(3)
    if what == "raise":
        raise RuntimeError("no")
    if what == "recurse":
        return behave(what)
    if what == "print":
        print("this is not an answer", flush=True)
    if what == "eat memory":
        return len(bytearray(2**40))
    if what == "pid":
        return os.getpid()
    return what

"""Where the program of `make bundle` begins: the workbench without words, the command line with them.

The workbench starts processes of its own with the interpreter's options ``-P -m``; the bundle is its own interpreter.
"""

import runpy
import sys

if __name__ == "__main__":
    if sys.argv[1:3] == ["-P", "-m"]:
        module, sys.argv = sys.argv[3], [sys.argv[0], *sys.argv[4:]]
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    else:
        from endmember.cli import main

        sys.exit(main(sys.argv[1:] or ["workbench", "--show"]))

"""Make the figures of the examples on real data anew, in docs/images: the pages show these, as the data stay outside.

ENDMEMBER_DATA=/where/the/data/are python docs/_sphinx/real_figures.py
"""

import os
import runpy
from pathlib import Path

from PIL import Image

DOCS = Path(__file__).parents[1]

if __name__ == "__main__":
    os.chdir(DOCS / "images")
    for script in sorted((DOCS.parent / "examples").glob("real_*.py")):
        runpy.run_path(str(script), run_name="__main__")
        picture = Path(f"{script.stem.removeprefix('real_')}.png")
        Image.open(picture).convert("RGB").quantize(128).save(picture, optimize=True)

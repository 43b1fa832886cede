"""One file of an answer for other programs; the ending of its name says which."""

import csv
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from endmember.errors import EndmemberError, refuse_if

#: What keeps the letters of a picture letters, so that other programs can edit them.
_EDITABLE: Any = {"svg.fonttype": "none", "pdf.fonttype": 42}


def export(answer: Any, path: str | Path) -> list[Path]:
    """Write what the ending of a name asks for, beside and renamed; return the files that were written."""
    path = Path(path)
    write = _WAYS.get(path.suffix.lower())
    if write is None:
        raise EndmemberError(f"{path} ends in none of {', '.join(_WAYS)}; give a name that does")
    refuse_if(
        answer.spectra.data.ndim > 2 and write in (_table, _single_spectra),
        f"the spectra are patterns, which {path.suffix} does not hold; give a name that ends in .json, .tif or .png",
    )
    if not path.parent.is_dir():
        raise FileNotFoundError(f"no folder {path.parent} to write into; make it first")
    with tempfile.TemporaryDirectory(prefix=".endmember-", dir=path.parent) as beside:
        write(answer, Path(beside, path.name))
        return [made.replace(path.parent / made.name) for made in sorted(Path(beside).iterdir())]


def _picture(answer: Any, file: Path) -> None:
    """Draw maps and spectra."""
    from matplotlib import rc_context

    with rc_context(_EDITABLE):
        answer.plot().savefig(file, dpi=300)


def _table(answer: Any, file: Path) -> None:
    """Write a table of the spectra: energies, then one column a component."""
    shown = answer.picture()
    units = f" ({shown.energy_units})" if shown.energy_units else ""
    with file.open("w", newline="", encoding="utf-8") as stream:
        rows = csv.writer(stream)
        rows.writerow([f"{shown.energy_label}{units}", *shown.names])
        rows.writerows(np.column_stack([shown.energy, shown.spectra.T]).tolist())


def _pages(answer: Any, file: Path) -> None:
    """Write the maps as pages of 32-bit numbers, with the pixel size as ImageJ does."""
    from PIL import Image

    maps = np.asarray(answer.maps.data, dtype=np.float32)
    pages = [Image.fromarray(page) for page in maps.reshape(-1, *np.atleast_2d(maps[0]).shape[-2:])]
    shown = answer.picture()
    said = {"description": f"ImageJ=1.54\nimages={len(pages)}\nslices={len(pages)}\n"}
    if shown.pixel_size is not None and shown.pixel_size[-1]:
        said["description"] += f"unit={shown.pixel_units[-1]}\n"
        said |= dict.fromkeys(("x_resolution", "y_resolution"), 1 / shown.pixel_size[-1])
    pages[0].save(file, "TIFF", save_all=True, append_images=pages[1:], **said)


def _single_spectra(answer: Any, file: Path) -> None:
    """Write each spectrum into a file of its own, numbered where there are several."""
    k = len(answer.spectra.data)
    for j in range(k):
        answer.spectra.inav[j].save(file if k == 1 else file.with_stem(f"{file.stem}-{j + 1}"))


def _everything(answer: Any, file: Path) -> None:
    """Write maps, spectra, energies and the record, null where a value is missing."""
    shown = answer.picture()
    content = {
        "names": list(shown.names),
        "energy_label": shown.energy_label,
        "energy_units": shown.energy_units,
        "energy": shown.energy.tolist(),
        "spectra": _values(shown.spectra),
        "maps": _values(answer.maps.data),
        "sentence": answer.sentence,
        "model": repr(answer.model),
        "record": answer.record,
    }
    file.write_text(json.dumps(content, default=str, allow_nan=False), encoding="utf-8")


def as_json(found: Any) -> str:
    """Return a report, a path or a comparison as JSON: its sentence and all it holds but models; null for no number."""
    return json.dumps(json.loads(
        json.dumps(
            {"sentence": found.sentence} | {name: part for name, part in vars(found).items() if name != "models"},
            default=lambda one: _values(one) if isinstance(one, np.ndarray | np.generic) else vars(one),
        ),
        parse_constant=lambda word: None,
    ))  # fmt: skip


def _values(array: Any) -> Any:
    """Return nested lists, None for what is not finite."""
    values = np.asarray(array, dtype=float).astype(object)
    values[~np.isfinite(array)] = None
    return values.tolist()


_WAYS = {
    **dict.fromkeys((".png", ".svg", ".pdf"), _picture),
    ".csv": _table,
    **dict.fromkeys((".tif", ".tiff"), _pages),
    ".msa": _single_spectra,
    ".json": _everything,
}

"""What a few minutes make of 30, of 100 and of all pictures of a set: recipes at equal wall time, with scores and sheets.

python -m benchmarks.recipes ZIPS_OR_FOLDERS... --out results --minutes 5 --counts 30 100 0
python -m benchmarks.recipes ... --recipe "wide: family=fastgan settings.width=48" --recipe "from birds: base=naturalist"
python -m benchmarks.recipes --out results --report docs/recipes

A recipe is the studio's plan with changes; without any, the plan itself, from the model that it chooses (base=none:
from nothing). Runs are real trainer processes, one after the other; what is in the results folder already is not run
again. With --classes, the folder that a picture lies in is its class; with --kinds 16 (or 0) pictures are sorted by their
looks into so many, not into as many as the studio suggests. Scores are of the averaged generator at the end: KID and
coverage against the whole set, also against pictures that the run never saw, and copies against those that it saw.
"Palettes": how unlike the colours are within a class (or in all, without classes), as a share of the set's own.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import random
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from studio.data.dataset import open_dataset
from studio.data.info import DatasetInfo
from studio.features.extractor import load
from studio.options import to_json
from studio.paths import Home, bundled
from studio.services.datasets import Datasets
from studio.training import events, sheet
from studio.training.config import TrainConfig
from studio.training.folder import RunFolder
from studio.training.plan import plan, suggested_base
from studio.training.process import trainer_command, without_secrets
from studio.training.scores import Scores
from studio.training.scoring import scorer_of
from studio.weights.store import load_card, load_generator

_JUDGED = 256
_COLUMNS, _ROWS = 8, 3
_MOST_COLUMNS = 16
"""Up to so many classes have a column of their own."""
_PICTURES = {".png", ".jpg", ".jpeg", ".webp"}


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """`count` pictures (0: all) of a zip or a folder, drawn by lot with a fixed seed; `classes`: the folder that one lies in
    is its class; `kinds`: they are sorted into so many instead (0: none; None: as the studio suggests)."""

    source: Path
    count: int
    resolution: int
    classes: bool = False
    kinds: int | None = None

    @property
    def name(self) -> str:
        """It says all of this."""
        kinds = "" if self.kinds is None else f"-{self.kinds}kinds"
        return f"{self.source.stem}-{self.count or 'all'}-{self.resolution}px{kinds}"

    def place(self, name: str) -> Path:
        """Where a picture of this name goes."""
        parts = Path(name).parts
        return Path(*parts[-2:]) if self.classes else Path("_".join(parts))


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The plan with changes. `base` is a model of ours, "auto" for the one that the plan chooses, "" for none; `family`
    an architecture, "" as planned."""

    name: str = "as planned"
    base: str = "auto"
    family: str = ""
    changes: tuple[tuple[str, Any], ...] = ()

    @classmethod
    def read(cls, text: str) -> Recipe:
        """ "name: base=naturalist family=fastgan r1_gamma=0.5 settings.width=48" """
        name, _, rest = text.partition(":")
        given = dict(part.split("=", 1) for part in rest.split())
        base, family = given.pop("base", "auto"), given.pop("family", "")
        return cls(name=name.strip(), base=base, family=family, changes=tuple((k, _value(v)) for k, v in given.items()))

    def config(self, info: DatasetInfo, minutes: float) -> TrainConfig:
        """What the run does. Without a family the plan chooses."""
        base = chosen_base(info, minutes, self.family) if self.base == "auto" else self.base
        folder = bundled("models") / base if base and base != "none" else None
        chosen = {"family": self.family} if self.family else {}
        plain = {name: value for name, value in self.changes if not name.startswith("settings.")}
        inner = {name.removeprefix("settings."): value for name, value in self.changes if name.startswith("settings.")}
        card = load_card(folder) if folder else None
        config = plan(minutes, info, card, changes=plain | {"settings": inner}, **chosen).config
        return replace(config, base_model=str(folder or ""), title=self.name)


def main() -> None:
    """Run what is missing, then print or write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*", type=Path, help="zips or folders of pictures")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, nargs="+", default=[5.0])
    parser.add_argument("--counts", type=int, nargs="+", default=[100], help="pictures taken; 0 is all")
    parser.add_argument("--resolution", type=int, default=64, help="at which the pictures are prepared")
    parser.add_argument("--classes", action="store_true", help="the folder that a picture lies in is its class")
    parser.add_argument("--kinds", type=int, help="sort the pictures into so many kinds [as the studio suggests]")
    parser.add_argument("--recipe", action="append", type=Recipe.read, default=[])
    parser.add_argument("--report", type=Path, help="a folder for the table and the sheets")
    chosen = parser.parse_args()
    chosen.out.mkdir(parents=True, exist_ok=True)
    for minutes in chosen.minutes:
        for source in chosen.sets:
            for count in chosen.counts:
                for recipe in chosen.recipe or [Recipe()]:
                    asked = Pictures(
                        source=source, count=count, resolution=chosen.resolution,
                        classes=chosen.classes, kinds=chosen.kinds,
                    )  # fmt: skip
                    run(chosen.out, asked, minutes, recipe)
    if chosen.report:
        report(chosen.out, chosen.report)


def run(out: Path, pictures: Pictures, minutes: float, recipe: Recipe) -> None:
    """One run, unless its result is there."""
    folder = out / re.sub(r"[^\w.-]+", "_", f"{pictures.name}-{minutes:g}min-{recipe.name}")
    if (folder / "result.json").exists():
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    seen, whole = (prepared(out / "home", replace(pictures, count=count)) for count in (pictures.count, 0))
    info = open_dataset(seen).info
    config = recipe.config(info, minutes)
    trained = train(folder / "run", replace(config, dataset=str(seen), dataset_fingerprint=info.fingerprint))
    generator = load_generator(trained)[0]
    made = sheet.draw(generator, range(_JUDGED), torch.device("cpu"))  # type: ignore[arg-type]
    columns = generator.classes if 1 < generator.classes <= _MOST_COLUMNS else _COLUMNS
    (folder / "sheet.webp").write_bytes(sheet.encode(made[: columns * _ROWS], columns))
    records = events.read_records(folder / "run" / "events.jsonl")[0]
    last = [record for record in records if record["event"] == "progress"][-1]
    size = config.settings["resolution"]
    against_all, against_seen = judged(made, whole, size), judged(made, seen, size)
    result = {
        "set": pictures.source.stem, "count": info.count, "minutes": minutes, "recipe": recipe.name, "family": config.family,
        "base": Path(config.base_model).name, "size_px": size, "kimg": last["kimg"], "seconds": last["seconds"],
        "images_per_second": last["images_per_second"], "sign": last["metrics"].get("sign"),
        "augment_p": last["metrics"].get("augment_p"), "kid": against_all.kid, "precision": against_all.precision,
        "recall": against_all.recall, "coverage": against_all.coverage, "diversity": against_all.diversity,
        "palettes": palettes(made, generator.classes) / palettes(*learned(seen, size)),
        "copied": against_seen.copied, "warnings": [r["topic"] for r in records if r["event"] == "warned"],
        "config": to_json(config),
    }  # fmt: skip
    (folder / "result.json").write_text(json.dumps(result, indent=1))
    shutil.rmtree(folder / "run" / "checkpoints", ignore_errors=True)
    print(line(result), flush=True)


def chosen_base(info: DatasetInfo, minutes: float, family: str) -> str:
    """The shipped model that the studio would start from by itself; "" for none."""
    cards = {place.parent.name: load_card(place.parent) for place in bundled("models").glob("*/config.json")}
    return suggested_base(cards, info, minutes, family=family)


def train(root: Path, config: TrainConfig) -> Path:
    """A trainer process until its run is over; the folder of the last snapshot."""
    root.mkdir()
    folder = RunFolder(root)
    folder.write_config(config)
    folder.write_wish("train")
    with open(folder.log, "wb") as log:
        code = subprocess.run(
            [*trainer_command(root), "--nice", "0"], env=without_secrets({}), stdout=log, stderr=log, check=False
        ).returncode
    if code:
        sys.exit(f"{root}: the trainer ended with {code}; see its log")
    return max(path for path in folder.snapshots.iterdir() if path.is_dir())


def judged(made: Tensor, dataset: Path, size: int) -> Scores:
    """The scores of made pictures beside a dataset, as the model saw it: shrunk to its size."""
    return scorer_of(open_dataset(dataset), size, load("small")).judge(made)


def palettes(pictures: Tensor, classes: int, of_class: Tensor | None = None) -> float:
    """How far the colours of pictures [n, c, h, w] of one class lie from each other: of means and spreads, the mean over classes.

    Without `of_class` [n] the classes come by turns, as on sheets; without classes all pictures are of one."""
    colours = torch.cat([pictures.mean(dim=(2, 3)), pictures.std(dim=(2, 3))], dim=1)
    numbers = torch.arange(len(pictures)) % max(1, classes) if of_class is None else of_class
    return float(torch.stack([torch.pdist(colours[numbers == one]).mean() for one in numbers.unique()]).mean())


def learned(dataset: Path, size: int) -> tuple[Tensor, int, Tensor]:
    """The pictures [n, c, size, size] of a dataset in [-1, 1], the number of its classes, and the class of each [n]."""
    found = open_dataset(dataset)
    pictures, of_class = found.batch(range(len(found)))
    return F.interpolate(pictures / 127.5 - 1, size=size, mode="area"), len(found.info.labels), of_class


def prepared(home: Path, pictures: Pictures) -> Path:
    """The folder of a dataset of these pictures, the same ones every time."""
    datasets = Datasets(Home(home).create())
    for info in datasets.list():
        if info.title == pictures.name:
            return datasets.folder(info.id)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / pictures.source.stem
        folder.mkdir()
        gather(pictures, folder)
        settings = {"resolution": pictures.resolution, "classes_from_folders": pictures.classes}
        settings |= {} if pictures.kinds is None else {"kinds": pictures.kinds}
        made = datasets.prepare_here(folder, settings, pictures.name, tell=lambda _: None)
    return datasets.folder(made.id)


def gather(pictures: Pictures, into: Path) -> None:
    """Copy them, each into the folder of its class, or all into one."""
    source = pictures.source
    with contextlib.nullcontext(source) if source.is_dir() else zipfile.ZipFile(source) as found:
        root = found if isinstance(found, Path) else zipfile.Path(found)
        names = [name for name in files_below(found) if Path(name).suffix.lower() in _PICTURES]
        for name in lot(sorted(names), pictures.count):
            place = into / pictures.place(name)
            place.parent.mkdir(exist_ok=True)
            place.write_bytes((root / name).read_bytes())


def files_below(source: Path | zipfile.ZipFile) -> list[str]:
    """The names of all files of a folder or an archive, relative to it."""
    if isinstance(source, zipfile.ZipFile):
        return source.namelist()
    return [path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file()]


def lot(names: Sequence[str], count: int) -> list[str]:
    """All, or `count` of them."""
    return random.Random(0).sample(list(names), count) if 0 < count < len(names) else list(names)


# ── what came out ──


def results(out: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Every result, by set, number of pictures, minutes and KID."""
    found = [(path.parent, json.loads(path.read_text())) for path in out.glob("*/result.json")]
    yield from sorted(found, key=lambda one: (one[1]["set"], one[1]["count"], one[1]["minutes"], one[1]["kid"]))


def line(result: dict[str, Any]) -> str:
    """One row of the table."""
    return (
        f"| {result['set']} | {result['count']} | {result['minutes']:g} | {result['recipe']} | {result['size_px']} | "
        f"{result['kimg']:.1f} | {result['kid']:.3f} | {result['precision']:.2f} | {result['coverage']:.2f} | "
        f"{result['diversity']:.2f} | {result.get('palettes', math.nan):.2f} | {result['copied']:.2f} |"
    )


HEAD = """| set | pictures | minutes | recipe | px | kimg | KID | precision | coverage | diversity | palettes | copied |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"""


def report(out: Path, folder: Path) -> None:
    """`table.md` and a sheet for every result."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [HEAD]
    for place, result in results(out):
        rows.append(line(result))
        shutil.copy(place / "sheet.webp", folder / f"{place.name}.webp")
    (folder / "table.md").write_text("\n".join(rows) + "\n")


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


if __name__ == "__main__":
    main()

"""Arrows point down: a module imports only from lower floors, and rooms on one floor do not know each other."""

from __future__ import annotations

import ast
from pathlib import Path

import studio

ROOT = Path(studio.__file__).parent
FLOORS = {
    "errors": 0, "options": 0, "paths": 0, "confine": 0, "words": 0, "__init__": 0,
    "ops": 1, "features": 2, "families": 3, "data": 4, "weights": 4, "training": 5, "latent": 5, "media": 5, "synthesis": 5,
    "services": 6,
    "ui": 7, "cli": 7, "__main__": 8,
}  # fmt: skip
NEIGHBOURS_ALLOWED = {("cli", "ui"), ("options", "errors"), ("paths", "errors")}
HEAVY_ON_THE_ROOF = {"torch", "torchvision"}


def imports_of(path: Path) -> list[tuple[str, bool]]:
    """(module, whether it is imported only for types) for every import of a file, in functions too."""
    tree = ast.parse(path.read_text())
    for_types = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and isinstance(block.test, ast.Name) and block.test.id == "TYPE_CHECKING"
        for node in ast.walk(block)
    }
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, id(node) in for_types) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = (
                [f"{node.module}.{alias.name}" for alias in node.names]
                if node.module == "studio"
                else [node.module or ""]
            )
            found += [(name, id(node) in for_types) for name in names]
    return found


def room_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def sources() -> list[Path]:
    return sorted(path for path in ROOT.rglob("*.py") if "_bundled" not in path.parts)


def test_every_room_has_a_floor() -> None:
    assert {room_of(path) for path in sources()} <= set(FLOORS)


def test_arrows_point_down() -> None:
    wrong = []
    for path in sources():
        room = room_of(path)
        for module, _ in imports_of(path):
            if not module.startswith("studio."):
                continue
            other = module.split(".")[1]
            if other == room or other not in FLOORS or (room, other) in NEIGHBOURS_ALLOWED:
                continue
            if FLOORS[other] >= FLOORS[room]:
                wrong.append(f"{path.relative_to(ROOT)} imports {module}")
    assert not wrong


def test_gradio_is_imported_only_in_the_ui() -> None:
    wrong = [
        str(path.relative_to(ROOT))
        for path in sources()
        if room_of(path) != "ui" and any(module.split(".")[0] == "gradio" for module, _ in imports_of(path))
    ]
    assert not wrong


def test_the_roof_does_not_import_torch() -> None:
    wrong = [
        str(path.relative_to(ROOT))
        for path in sources()
        if FLOORS[room_of(path)] >= FLOORS["ui"]
        and any(module.split(".")[0] in HEAVY_ON_THE_ROOF for module, only_types in imports_of(path) if not only_types)
    ]
    assert not wrong


def test_the_test_notices_a_wrong_arrow(tmp_path: Path) -> None:
    file = tmp_path / "wrong.py"
    file.write_text("def f():\n    from studio.ui import page\n")
    assert imports_of(file) == [("studio.ui", False)]

"""Every format that people have is dropped on the shelf, kept and played, in a real browser; and what is no model is refused."""

from __future__ import annotations

import os
import pickle
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import Server
from tests.making import draw_shapes, make_model
from tests.weights.fake_hub import FakeHub, Repository, serving

expect = pytest.importorskip("playwright.sync_api").expect


@pytest.fixture(scope="module")
def hub() -> Iterator[FakeHub]:
    with serving() as running:
        before = os.environ.get("HF_ENDPOINT")
        os.environ["HF_ENDPOINT"] = running.url
        yield running
        if before is None:
            del os.environ["HF_ENDPOINT"]
        else:
            os.environ["HF_ENDPOINT"] = before


@pytest.fixture(scope="module")
def studio_server(hub: FakeHub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A studio with an empty shelf, whose Hub is ours."""
    server = Server(tmp_path_factory.mktemp("importing") / "home")
    server.start()
    yield server
    server.end()


# ── files as the programs write them ──


@pytest.fixture(autouse=True)
def makers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makers of files know each other by their bare names, as pytest lets them beside their own tests."""
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "weights" / "foreign")


def nvlabs(path: Path) -> Path:
    from tests.weights.foreign import making_networks, making_nvlabs

    return making_nvlabs.write_stylegan2_ada(path / "leaves.pkl", *making_networks.stylegan2(), kimg=25.0)


def nvlabs_with_classes(path: Path) -> Path:
    from tests.weights.foreign import making_networks, making_nvlabs

    return making_nvlabs.write_stylegan2_ada(path / "kinds.pkl", *making_networks.stylegan2(classes=3), frozen=2)


def stylegan3(path: Path) -> Path:
    from tests.weights.foreign import making_networks, making_nvlabs

    return making_nvlabs.write_stylegan3(path / "waves.pkl", *making_networks.stylegan3(config="r"))


def tensorflow(path: Path) -> Path:
    from tests.weights.foreign import making_networks, making_tensorflow

    return making_tensorflow.write_tensorflow(path / "old.pkl", *making_networks.stylegan2())


def rosinality(path: Path) -> Path:
    from tests.weights.foreign import making_networks, making_rosinality

    return making_rosinality.write_rosinality(path / "550000.pt", *making_networks.stylegan2())


def r3gan(path: Path) -> Path:
    from tests.weights.foreign import making_r3gan

    return Path(making_r3gan.write(path / "baseline.pkl", making_r3gan.make(), kimg=12))


def fastgan(path: Path) -> Path:
    from tests.weights.foreign import making_fastgan

    return saved(path / "all_50000.pth", making_fastgan.checkpoint(making_fastgan.FastGAN(256, z_dim=24, ngf=4)))


def lightweight(path: Path) -> Path:
    from tests.weights.foreign import making_lightweight

    network = making_lightweight.LightweightGAN(64, 8)
    return saved(path / "model_7.pt", making_lightweight.checkpoint(network, network))


def lucidrains(path: Path) -> Path:
    """A folder, with the settings beside the weights."""
    from tests.weights.foreign import making_lucidrains as making

    pairs = [(making.Vectorizer(24, 4, 0.1), making.Generator(32, 24, 4)) for _ in range(2)]
    (path / "default").mkdir()
    saved(path / "default" / "model_3.pt", making.checkpoint(*pairs[0], pairs[1]))
    (path / "default" / ".config.json").write_text('{"image_size": 32, "network_capacity": 4}')
    return path / "default"


def dcgan(path: Path) -> Path:
    from tests.weights.foreign import making_dcgan

    making_dcgan.write_dcgan(path / "faces_dcgan.pth")
    return path / "faces_dcgan.pth"


def huggan(path: Path) -> Path:
    from tests.weights.foreign import making_dcgan

    making_dcgan.write_huggan(path / "huggan")
    return path / "huggan"


def mlp(path: Path) -> Path:
    from tests.weights.foreign import making_dcgan

    making_dcgan.write_mlp(path / "digits.pth")
    return path / "digits.pth"


def ours(path: Path) -> Path:
    return make_model(path / "tiny", "stylegan2", "Tiny of ours")


def saved(path: Path, content: object) -> Path:
    import torch

    torch.save(content, path)
    return path


FORMATS = (
    nvlabs, nvlabs_with_classes, stylegan3, tensorflow, rosinality, r3gan, fastgan, lightweight, lucidrains, dcgan, huggan,
    mlp, ours,
)  # fmt: skip


# ── hands ──


def drop(page, path: Path) -> None:
    """Drop a file on the shelf."""
    transfer = page.evaluate_handle(
        """([name, bytes]) => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([Uint8Array.from(bytes)], name));
            return transfer;
        }""",
        [path.name, list(path.read_bytes())],
    )
    expect(page.locator("#bring-model")).to_be_visible()
    page.dispatch_event("body", "dragover", {"dataTransfer": transfer})
    expect(page.locator(".shelf-veil")).to_be_visible()
    page.dispatch_event("body", "drop", {"dataTransfer": transfer})
    expect(page.locator(".shelf-veil")).to_be_hidden()


def bring(page, path: Path) -> None:
    """Drop a small file; choose a folder, or a file that is too large to pass through the driver, in the dialog."""
    if path.is_file() and path.stat().st_size < 1_000_000:
        drop(page, path)
        return
    page.locator("#bring-model").click()
    page.locator("#bring-folder" if path.is_dir() else "#bring-file").set_input_files(path)


def keep(page, title: str) -> str:
    """Give it a name and a licence, and put it on the shelf; answers its id."""
    page.locator("#bring-title").fill(title)
    page.locator("#bring-licence").select_option("CC0-1.0")
    page.locator("#bring-keep").click()
    expect(page.locator("#bring")).to_have_count(0)
    card = page.locator(".model-card", has_text=title)
    expect(card).to_contain_text("yours")
    return card.get_attribute("id").removeprefix("model-")


def play(page, model: str) -> None:
    """One click, and pictures that answer."""
    page.locator(f"#model-{model} .button.primary").click()
    expect(page.locator("#live-canvas")).to_be_visible()
    expect(page.locator("#canvas-waiting")).to_be_hidden()
    first = settled(page)
    page.locator("#live-canvas").focus()
    page.keyboard.press("r")
    assert settled(page) != first


def settled(page) -> str:
    page.wait_for_function(
        "() => { const p = window.latentStudioPlayer?.canvas;"
        " return p?.stamp && p.shown === p.stamp && !p.underway.size && !p.draft; }"
    )
    return page.evaluate("() => document.querySelector('#live-canvas').toDataURL()")


def forgive_refusals(page) -> None:
    """A refused upload is an HTTP error, which the browser's console names."""
    page.complaints[:] = [text for text in page.complaints if "status of 400" not in text]


# ── every format ──


@pytest.mark.parametrize("make", FORMATS, ids=lambda make: make.__name__)
def test_a_model_is_dropped_kept_and_played(page, tmp_path: Path, make: Callable[[Path], Path]) -> None:
    bring(page, make(tmp_path))
    expect(page.locator("#bring-look img").first).to_be_visible()
    page.wait_for_function(
        "() => [...document.querySelectorAll('#bring-look img')].every((one) => one.naturalWidth > 0)"
    )
    candidates = page.locator(".candidate")
    if candidates.count():
        candidates.nth(1).click()
        expect(candidates.nth(1).locator("input")).to_be_checked()
    play(page, keep(page, f"From {make.__name__}"))


def test_a_kept_model_says_where_it_came_from_and_can_be_taken_off_again(page, tmp_path: Path, studio_server) -> None:
    path = nvlabs(tmp_path)
    bring(page, path)
    model = keep(page, "Provenance")
    card = page.locator(f"#model-{model}")
    card.get_by_role("button", name="About").click()
    about = page.get_by_role("dialog")
    expect(about).to_contain_text("leaves.pkl")
    expect(about).to_contain_text(re.compile("sha256 [0-9a-f]{64}"))
    page.keyboard.press("Escape")
    page.locator("#notices").get_by_role("button", name="Undo").click()
    expect(card).to_have_count(0)
    assert not list((studio_server.home / "cache" / "imports").iterdir())


def test_a_name_that_is_taken_and_a_licence_that_is_missing_are_said(page, tmp_path: Path) -> None:
    path = nvlabs(tmp_path)
    bring(page, path)
    keep(page, "Twice")
    bring(page, path)
    page.locator("#bring-keep").click()
    expect(page.locator(".bring-missing")).to_contain_text("under which licence")
    page.locator("#bring-title").fill("Twice")
    page.locator("#bring-licence").select_option("unknown")
    page.locator("#bring-keep").click()
    expect(page.locator(".bring-missing")).to_contain_text("There is a model called Twice")
    expect(page.locator("#bring .warnings")).to_contain_text("on the shelf already")


def test_of_several_snapshots_the_artist_chooses(page, tmp_path: Path) -> None:
    from tests.weights.foreign import making_dcgan

    (tmp_path / "run").mkdir()
    making_dcgan.write_dcgan(tmp_path / "run" / "netG_epoch_1.pth", resolution=32)
    making_dcgan.write_dcgan(tmp_path / "run" / "netG_epoch_24.pth", resolution=16)
    page.locator("#bring-model").click()
    page.locator("#bring-path").fill(str(tmp_path / "run"))
    page.locator("#bring-path-open").click()
    expect(page.locator("#bring-look .facts")).to_contain_text("16 px")
    page.locator("#bring-choice").select_option("netG_epoch_1.pth")
    expect(page.locator("#bring-look .facts")).to_contain_text("32 px")


# ── what is no model ──


class Command:
    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self):
        return (os.system, (f"touch {self.trace}",))


def test_a_hostile_pickle_is_refused_and_never_runs(page, tmp_path: Path) -> None:
    (tmp_path / "gift.pkl").write_bytes(pickle.dumps({"G_ema": Command(tmp_path / "executed")}))
    bring(page, tmp_path / "gift.pkl")
    expect(page.locator("#bring-problem")).to_contain_text("cannot be read safely")
    assert not (tmp_path / "executed").exists()
    forgive_refusals(page)


def test_a_web_page_is_refused_and_the_way_back_is_open(page, tmp_path: Path) -> None:
    (tmp_path / "stylegan.pkl").write_text("<!doctype html><html><body>Please sign in</body></html>")
    bring(page, tmp_path / "stylegan.pkl")
    expect(page.locator("#bring-problem")).to_contain_text("web page")
    page.locator("#bring-file").set_input_files(nvlabs(tmp_path))
    expect(page.locator("#bring-keep")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#bring")).to_have_count(0)


def test_a_path_that_leads_nowhere_is_said(page) -> None:
    page.locator("#bring-model").click()
    page.locator("#bring-path").fill("/no/such/model.pkl")
    page.locator("#bring-path-open").click()
    expect(page.locator("#bring-problem")).to_contain_text("There is no file or folder")
    expect(page.locator("#bring-path")).to_have_value("/no/such/model.pkl")


def test_an_upload_that_is_cut_off_can_be_tried_again(page, tmp_path: Path) -> None:
    path = nvlabs(tmp_path)
    page.route("**/studio/import/**", lambda route: route.abort())
    bring(page, path)
    expect(page.locator("#bring-problem")).to_contain_text("cut off")
    page.unroute("**/studio/import/**")
    page.locator("#bring-again").click()
    expect(page.locator("#bring-keep")).to_be_visible()
    page.complaints[:] = [text for text in page.complaints if "ERR_FAILED" not in text]


# ── the Hub ──


def ask_hub(page, address: str) -> None:
    page.locator("#bring-model").click()
    page.locator("#bring-hub").fill(address)
    page.locator("#bring-hub-look").click()


def test_a_repository_is_shown_cancelled_resumed_and_played(page, hub: FakeHub, tmp_path: Path) -> None:
    weights = nvlabs(tmp_path).read_bytes()
    files = {
        "README.md": b"# Leaves",
        "snapshot-000100.pkl": weights,
        "snapshot-000050.pkl": weights,
        "train.py": b"no",
    }
    repository = Repository(files=files, card={"license": "cc-by-4.0"}, pause_seconds=0.3)
    hub.repositories["ana/leaves"] = repository
    ask_hub(page, f"{hub.url}/ana/leaves")
    listing = page.locator("#bring")
    for fact in ("ana/leaves", "commit 01234567", "cc-by-4.0", "1 other file stays"):
        expect(listing).to_contain_text(fact)
    expect(page.get_by_label("Take snapshot-000100.pkl")).to_be_checked()
    expect(page.get_by_label("Take snapshot-000050.pkl")).not_to_be_checked()
    page.locator("#bring-download").click()
    expect(page.locator("#bring .working-line")).to_contain_text(re.compile(r"[1-9]\d* KB of"))
    page.locator("#bring-cancel").click()
    expect(page.locator("#bring-download")).to_be_visible()
    repository.pause_seconds = 0
    page.locator("#bring-download").click()
    expect(page.locator("#bring-keep")).to_be_visible()
    assert any("snapshot-000100" in path and part.startswith("bytes=") for path, part in repository.asked)
    assert not any("train.py" in path for path, _ in repository.asked)
    expect(page.locator("#bring-licence")).to_have_value("CC-BY-4.0")
    model = keep(page, "From the Hub")
    page.locator(f"#model-{model}").get_by_role("button", name="About").click()
    expect(page.get_by_role("dialog")).to_contain_text("ana/leaves on the Hugging Face Hub")
    page.keyboard.press("Escape")
    play(page, model)


def test_what_the_hub_refuses_is_said_with_what_to_do(page, hub: FakeHub) -> None:
    hub.repositories["ana/gated"] = Repository(files={}, gated=True)
    ask_hub(page, "ana/nothing-here")
    expect(page.locator("#bring-problem")).to_contain_text("or it is private")
    page.locator("#bring-hub").fill("ana/gated")
    page.locator("#bring-hub-look").click()
    expect(page.locator("#bring-problem")).to_contain_text("accept its conditions")
    page.locator("#bring-hub").fill("what is this")
    page.locator("#bring-hub-look").click()
    expect(page.locator("#bring-problem")).to_contain_text("not the name of a model")


# ── further ──


def test_training_goes_on_from_an_imported_snapshot(page, tmp_path: Path) -> None:
    bring(page, nvlabs(tmp_path))
    expect(page.locator("#bring-look .facts")).to_contain_text("can be trained further")
    model = keep(page, "To be trained")
    page.locator(f"#model-{model}").get_by_role("button", name="About").click()
    page.get_by_role("button", name="Train it further").click()
    expect(page.locator("#train-base input")).to_have_value(re.compile("To be trained"))
    page.locator("#choose-folder").set_input_files(draw_shapes(tmp_path / "shapes", 12))
    expect(page.locator("#report")).to_be_visible()
    page.locator("#train-title input, #train-title textarea").first.fill("Further")
    page.locator("#start-training").click()
    expect(page.locator("#run-title")).to_have_text("Further")
    expect(page.locator("#play-run")).to_be_visible()
    page.locator(".cell").first.click()
    expect(page.locator("#model-picker")).to_have_value(re.compile("@"))
    expect(page.locator("#canvas-waiting")).to_be_hidden()
    settled(page)
    page.locator("#train-room-button").click()
    page.locator("#stop-run").click()
    expect(page.locator("#to-shelf")).to_be_visible()


def test_a_model_of_another_family_can_be_trained_further_too(page, tmp_path: Path) -> None:
    bring(page, r3gan(tmp_path))
    model = keep(page, "Blocks")
    page.locator(f"#model-{model}").get_by_role("button", name="About").click()
    expect(page.get_by_role("dialog")).to_contain_text("R3GAN")
    expect(page.get_by_role("button", name="Train it further")).to_be_visible()
    page.keyboard.press("Escape")


def test_a_script_brings_a_model(studio_server, tmp_path: Path) -> None:
    from gradio_client import Client, handle_file

    client = Client(studio_server.url, verbose=False)
    nothing = {"source": "", "title": "", "licence": "", "candidate": None, "choice": "", "revision": "", "files": None}
    looked = client.predict(**{**nothing, "source": str(nvlabs(tmp_path))}, api_name="/import_model")
    assert (looked["model"], looked["family"], looked["resolution"]) == ("", "stylegan2", 32)
    sent = {
        **nothing,
        "files": [handle_file(str(dcgan(tmp_path)))],
        "title": "By script",
        "licence": "MIT",
        "candidate": 1,
    }
    kept = client.predict(**sent, api_name="/import_model")
    assert kept["model"] in {model["id"] for model in client.predict(api_name="/models")}
    with pytest.raises(Exception, match="no file or folder"):
        client.predict(**{**nothing, "source": "/nowhere.pkl"}, api_name="/import_model")


def test_on_a_phone_the_dialog_fits(browser, studio_server, tmp_path: Path) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True)
    page = context.new_page()
    page.goto(studio_server.url)
    page.locator("#bring-model").click()
    wider = "() => { const b = document.querySelector('.bring-body'); return b.scrollWidth - b.clientWidth; }"
    assert page.evaluate(wider) == 0
    page.locator("#bring-file").set_input_files(dcgan(tmp_path))
    expect(page.locator("#bring-keep")).to_be_visible()
    assert page.evaluate(wider) == 0
    context.close()

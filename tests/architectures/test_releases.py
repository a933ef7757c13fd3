"""Official weights: found, fetched once, checked, kept; and one sentence that helps where that is impossible."""

import hashlib
import json
import logging
import socket
from pathlib import Path

import pytest
import timm
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from architectures import NetworkSpec, build_network, list_networks
from architectures.checkpoints import (
    FAMILIES,
    RELEASES,
    CheckpointError,
    UnavailableError,
    check_release,
    convert,
    load_official,
    official_weights,
)

from ..golden.fill import state_dict_for
from .goldens import official_state_dict
from .release_server import Server, announce, content, file, release_server, status
from .test_checkpoints import Malicious

GOLDEN = Path(__file__).parents[1] / "golden" / "stm"
NETWORK = "unified_convnext_micro"
UNRELEASED = {"unified_dcn_v3_large", "i_dynamic_dwnet_tiny", "i_dynamic_dwnet_base"} | {
    f"unified_{network}_nano" for network in ("halo", "pvt", "swin", "convnext", "dcn_v3")
}


def released_file(path: Path, network: str = NETWORK) -> Path:
    """A checkpoint as its authors released it: their names, in their container, in float32."""
    weights = state_dict_for(json.loads((GOLDEN / f"{network}.json").read_text())["manifest"])
    torch.save({"model": {key: value.float() for key, value in weights.items()}, "epoch": 299}, path)
    return path


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return released_file(tmp_path_factory.mktemp("release") / "released.pth")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, checkpoint: Path):
    with release_server() as running:
        running.respond = file(checkpoint)
        announce(monkeypatch, NETWORK, f"{running.address}/released.pth")
        yield running


@pytest.fixture
def by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    announce(monkeypatch, NETWORK, "https://drive.example/folder", fetched_by="hand", remark="ask for the key")


@pytest.fixture(params=["program", "hand"])
def release(request: pytest.FixtureRequest) -> None:
    """Both ways of being released; a server that must not be reached."""
    request.getfixturevalue("server" if request.param == "program" else "by_hand")


def files(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.rglob("*"))


def fetch(cache: Path) -> Path:
    return official_weights(NETWORK, cache=cache, show_progress=False)


def origin(path: Path) -> dict[str, str]:
    with safe_open(path, "pt") as kept:
        return json.loads(kept.metadata()["origin"])


KEPT = [f"{NETWORK}.safetensors", f"{NETWORK}.safetensors.sha256"]


class TestTable:
    def test_every_network_is_released_or_known_not_to_be(self) -> None:
        published = {name for name in list_networks() if name.startswith(tuple(FAMILIES))}
        assert set(RELEASES) | UNRELEASED == published
        assert not set(RELEASES) & UNRELEASED

    def test_every_released_network_can_be_converted(self) -> None:
        for name in RELEASES:
            assert any(name.startswith(prefix) for prefix in FAMILIES), name

    def test_rows(self) -> None:
        for release in RELEASES.values():
            assert release.fetched_by in ("program", "hand")
            assert release.address.startswith("https://")
            assert release.page.startswith("https://")
            assert set(release.sha256) <= set("0123456789abcdef")
        downloads = [release.address for release in RELEASES.values() if release.fetched_by == "program"]
        assert len(set(downloads)) == len(downloads) == 30

    @pytest.mark.parametrize("name", ["i_dynamic_dwnet_tiny", "unified_pooling_micro"])
    def test_a_network_without_a_release(self, name: str, tmp_path: Path) -> None:
        for ask in (check_release, official_weights):
            with pytest.raises(ValueError, match=f"no official weights of {name} were released; .*dwnet_base"):
                ask(name, cache=tmp_path)


class TestFetching:
    def test_what_is_downloaded_loads_and_is_kept(self, server: Server, checkpoint: Path, tmp_path: Path) -> None:
        cache = tmp_path / "not" / "there" / "yet"
        path = fetch(cache)
        assert fetch(cache) == path
        assert server.requests == ["/released.pth"]
        assert files(cache) == KEPT
        network = build_network(NetworkSpec(NETWORK))
        network.load_state_dict(load_official(path, NETWORK), strict=True)
        original = torch.load(checkpoint, weights_only=True)["model"]
        assert torch.equal(network.head.weight, original["head.weight"])
        assert origin(path) == {
            "network": NETWORK,
            "source": f"{server.address}/released.pth",
            "sha256": hashlib.sha256(checkpoint.read_bytes()).hexdigest(),
        }
        digest, name = path.with_name(f"{path.name}.sha256").read_text().split()
        assert (digest, name) == (hashlib.sha256(path.read_bytes()).hexdigest(), path.name)
        assert path.stat().st_mode == checkpoint.stat().st_mode  # in a shared cache, others can read it too

    def test_it_lies_where_the_platform_keeps_such_files(
        self, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        assert official_weights(NETWORK).parent == tmp_path / "stmbench" / "checkpoints"
        monkeypatch.delenv("XDG_CACHE_HOME")
        monkeypatch.setenv("HOME", str(tmp_path / "home"))
        assert official_weights(NETWORK).parent == tmp_path / "home" / ".cache" / "stmbench" / "checkpoints"

    def test_a_file_that_changed_in_the_cache_is_fetched_again(
        self, server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        path = fetch(tmp_path)
        whole = path.read_bytes()
        path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        with caplog.at_level(logging.WARNING):
            fetch(tmp_path)
        assert f"{path} has changed since it was written" in caplog.text
        assert path.read_bytes() == whole
        # Nor is one without a record of what it was.
        path.with_name(KEPT[1]).unlink()
        fetch(tmp_path)
        assert files(tmp_path) == KEPT
        assert len(server.requests) == 3

    def test_a_published_hash_is_enforced(
        self, server: Server, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        digest = hashlib.sha256(checkpoint.read_bytes()).hexdigest()
        announce(monkeypatch, NETWORK, f"{server.address}/other.pth", sha256="00000000")
        with pytest.raises(CheckpointError, match=rf"/other\.pth has the SHA-256 {digest}, .* begins with 00000000"):
            fetch(tmp_path)
        assert files(tmp_path) == []
        announce(monkeypatch, NETWORK, f"{server.address}/released.pth", sha256=digest[:8])
        assert fetch(tmp_path).is_file()

    def test_options_that_change_the_weights_are_heeded(self, tmp_path: Path) -> None:
        """A checkpoint of ConTNet belongs to one set of its authors' options."""
        torch.save(official_state_dict("contnet", "ConT-Ti"), tmp_path / "contnet_tiny.pth")
        with pytest.raises(CheckpointError, match=r"contnet_tiny\.pth: .* is missing"):
            official_weights("contnet_tiny", cache=tmp_path, options={"relative_position_bias": True})
        path = official_weights("contnet_tiny", cache=tmp_path, options={"relative_position_bias": False})
        assert load_official(path, "contnet_tiny")


class TestFaults:
    """After each of them the cache is as before, and the next attempt can succeed."""

    @pytest.fixture(autouse=True)
    def recovers(self, server: Server, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        yield
        assert files(tmp_path) == []
        announce(monkeypatch, NETWORK, f"{server.address}/released.pth")
        server.respond = file(checkpoint)
        assert fetch(tmp_path).is_file()

    def test_a_download_that_ends_early(self, server: Server, checkpoint: Path, tmp_path: Path) -> None:
        server.respond = file(checkpoint, bytes_sent=1_500_000)
        size = checkpoint.stat().st_size
        with pytest.raises(UnavailableError, match=f"connection ended after 1500000 of {size} bytes; fetch it by hand"):
            fetch(tmp_path)

    def test_a_file_that_is_damaged_at_its_source(self, server: Server, checkpoint: Path, tmp_path: Path) -> None:
        server.respond = content(checkpoint.read_bytes()[:1_500_000])
        with pytest.raises(CheckpointError, match=rf"^{server.address}/released\.pth is damaged or not a checkpoint"):
            fetch(tmp_path)

    def test_a_page_instead_of_a_file(self, server: Server, tmp_path: Path) -> None:
        server.respond = content(b"<html>Please sign in</html>")
        with pytest.raises(CheckpointError, match=rf"{server.address}/released\.pth is damaged or not a checkpoint"):
            fetch(tmp_path)

    @pytest.mark.parametrize("code", [404, 503])
    def test_an_answer_that_is_an_error(self, server: Server, tmp_path: Path, code: int) -> None:
        server.respond = status(code)
        with pytest.raises(UnavailableError, match=rf"{server.address}/released\.pth .*{code}.* save it as"):
            fetch(tmp_path)

    def test_no_network(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        with socket.socket() as taken:  # bound, but nobody listens
            taken.bind(("127.0.0.1", 0))
            address = f"http://127.0.0.1:{taken.getsockname()[1]}/released.pth"
            announce(monkeypatch, NETWORK, address)
            with pytest.raises(UnavailableError, match="onnection refused") as caught:
                fetch(tmp_path)
        message = str(caught.value)
        assert address in message
        assert str(tmp_path / f"{NETWORK}.pth") in message
        assert "\n" not in message
        assert "urlopen" not in message

    def test_a_server_that_falls_silent(self, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from architectures.checkpoints import download

        monkeypatch.setattr(download, "TIMEOUT_SECONDS", 0.2)
        with socket.create_server(("127.0.0.1", 0)) as silent:
            announce(monkeypatch, NETWORK, f"http://127.0.0.1:{silent.getsockname()[1]}/released.pth")
            with pytest.raises(UnavailableError, match="timed out"):
                fetch(tmp_path)

    def test_the_weights_of_another_network(self, server: Server, tmp_path: Path, tmp_path_factory) -> None:
        other = released_file(tmp_path_factory.mktemp("other") / "other.pth", "unified_swin_micro")
        server.respond = file(other)
        with pytest.raises(
            CheckpointError,
            match=rf"{server.address}/released\.pth: these are not the official weights of {NETWORK}: .* is missing",
        ):
            fetch(tmp_path)

    def test_objects_are_never_unpickled(self, server: Server, tmp_path: Path, tmp_path_factory) -> None:
        folder = tmp_path_factory.mktemp("malicious")
        torch.save({"model": Malicious(folder / "witness")}, folder / "released.pth")
        server.respond = file(folder / "released.pth")
        with pytest.raises(CheckpointError, match="damaged or not a checkpoint"):
            fetch(tmp_path)
        assert files(folder) == ["released.pth"]


class TestFetchedByHand:
    def test_what_to_fetch_and_where_to_put_it(self, by_hand: None, tmp_path: Path) -> None:
        for ask in (check_release, official_weights):
            with pytest.raises(UnavailableError) as caught:
                ask(NETWORK, cache=tmp_path)
            words = ("https://drive.example/folder", RELEASES[NETWORK].page, "ask for the key")
            assert all(word in str(caught.value) for word in (*words, str(tmp_path / f"{NETWORK}.pth")))

    def test_a_file_in_that_place_is_taken_without_a_network(
        self, release: None, checkpoint: Path, tmp_path: Path
    ) -> None:
        place = tmp_path / f"{NETWORK}.pth"
        place.write_bytes(checkpoint.read_bytes())
        check_release(NETWORK, cache=tmp_path)
        path = fetch(tmp_path)
        assert place.is_file()  # it is the user's
        assert origin(path)["source"] == str(place)
        place.unlink()
        check_release(NETWORK, cache=tmp_path)
        assert fetch(tmp_path) == path

    def test_a_changed_file_needs_its_original(self, by_hand: None, checkpoint: Path, tmp_path: Path) -> None:
        place = tmp_path / f"{NETWORK}.pth"
        place.write_bytes(checkpoint.read_bytes())
        path = fetch(tmp_path)
        path.write_bytes(path.read_bytes()[:-8])
        assert fetch(tmp_path) == path
        place.unlink()
        path.write_bytes(path.read_bytes()[:-8])
        with pytest.raises(UnavailableError, match=r"drive\.example"):
            fetch(tmp_path)

    def test_a_wrong_file_in_that_place_is_named_and_can_be_replaced(
        self, release: None, checkpoint: Path, tmp_path: Path
    ) -> None:
        place = tmp_path / f"{NETWORK}.pth"
        released_file(place, "unified_swin_micro")
        with pytest.raises(CheckpointError, match=rf"^{place}: these are not the official weights of {NETWORK}"):
            fetch(tmp_path)
        assert files(tmp_path) == [place.name]
        place.write_bytes(checkpoint.read_bytes())
        assert fetch(tmp_path).is_file()


class TestNetworksOfTimm:
    """The names are timm's on both sides; the networks here have random weights."""

    @pytest.mark.parametrize("name", ["resnet18", "deit_tiny_patch16_224"])
    def test_weights_are_copied(self, name: str) -> None:
        weights = timm.create_model(name).state_dict()
        counts = {key for key in weights if key.endswith("num_batches_tracked")}
        converted = convert(name, {"model": {key: value for key, value in weights.items() if key not in counts}})
        assert converted.keys() == weights.keys()
        assert all(torch.equal(converted[key], weights[key]) for key in weights)

    def test_position_embeddings_of_deit_are_resized(self, tmp_path: Path) -> None:
        weights = timm.create_model("deit_tiny_patch16_224").state_dict()
        save_file(weights, tmp_path / "deit.safetensors")
        converted = convert("deit_tiny_patch16_224", load_file(tmp_path / "deit.safetensors"), img_size=160)
        build_network(NetworkSpec("deit_tiny_patch16_224", img_size=(160, 160))).load_state_dict(converted)
        table: Tensor = weights["pos_embed"]
        grid = table[0, 1:].T.reshape(1, 192, 14, 14)
        expected = F.interpolate(grid, (10, 10), mode="bicubic", align_corners=False)[0].reshape(192, 100).T
        assert torch.equal(converted["pos_embed"][0, 0], table[0, 0])
        torch.testing.assert_close(converted["pos_embed"][0, 1:], expected)
        with pytest.raises(CheckpointError, match=r"pos_embed has shape \(1, 197, 192\)"):
            convert("deit_tiny_patch16_224", weights, img_size=(160, 224))


class TestThroughTimm:
    """`timm.create_model(name, pretrained=True)`."""

    @pytest.fixture(autouse=True)
    def cache(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        return tmp_path / "stmbench" / "checkpoints"

    def test_it_has_the_released_weights(self, server: Server, checkpoint: Path, cache: Path) -> None:
        network = timm.create_model(NETWORK, pretrained=True)
        expected = load_official(checkpoint, NETWORK)
        assert all(torch.equal(value, expected[key]) for key, value in network.state_dict().items())
        assert files(cache) == KEPT

    def test_it_is_adapted_to_other_classes_and_channels(self, server: Server, checkpoint: Path) -> None:
        network = timm.create_model(NETWORK, pretrained=True, num_classes=7, in_chans=1, img_size=(64, 96))
        expected = load_official(checkpoint, NETWORK)
        same = [name for name, value in network.state_dict().items() if torch.equal(value, expected[name])]
        assert len(same) > 0.9 * len(expected)
        assert network(torch.zeros(1, 1, 64, 96)).shape == (1, 7)
        first = network.pretrained_cfg["first_conv"] + ".weight"
        torch.testing.assert_close(network.state_dict()[first], expected[first].sum(1, keepdim=True))

    def test_options_of_the_mixer_are_taken(self, cache: Path) -> None:
        name, options = "unified_swin_micro", {"mixer_options": {"window_size": 14}}
        cache.mkdir(parents=True)
        expected = load_official(released_file(cache / f"{name}.pth", name), name, **options)
        network = timm.create_model(name, pretrained=True, **options)
        assert network.stages[0].blocks[1].mixer.shift_size == 7
        assert all(torch.equal(value, expected[key]) for key, value in network.state_dict().items())

    def test_its_pyramid_can_be_had(self, server: Server) -> None:
        pyramid = timm.create_model(NETWORK, pretrained=True, features_only=True)
        assert [level.shape[1] for level in pyramid(torch.zeros(1, 3, 64, 64))] == pyramid.feature_info.channels()

    def test_weights_of_ones_own_win(self, server: Server, tmp_path: Path) -> None:
        own = build_network(NetworkSpec(NETWORK)).state_dict()
        save_file(own, tmp_path / "own.safetensors")
        overlay = {"file": str(tmp_path / "own.safetensors")}
        network = timm.create_model(NETWORK, pretrained=True, pretrained_cfg_overlay=overlay)
        assert all(torch.equal(value, own[key]) for key, value in network.state_dict().items())
        assert server.requests == []

    def test_what_was_never_released_is_named(self) -> None:
        with pytest.raises(ValueError, match="no official weights of unified_pooling_micro were released"):
            timm.create_model("unified_pooling_micro", pretrained=True)

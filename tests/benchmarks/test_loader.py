"""The loader's benchmark compares like with like; its speeds are nobody's business here."""

from benchmarks.loader import decoding_alone, make_images, measure, our_epoch, timms_epoch
from training.data.decoding import DECODERS


def test_both_loaders_deliver_all_images_and_are_measured(tmp_path):
    make_images(tmp_path, count=10)
    sizes = [path.stat().st_size for path in tmp_path.glob("train/*/*.jpg")]
    assert len(sizes) == 10
    assert 80_000 < sum(sizes) / 10 < 130_000  # ImageNet's are 110 kB on average
    for make in (our_epoch, timms_epoch):
        run = make(tmp_path, workers=1, batch=5)
        assert run(0) == 10
        speed, milliseconds = measure(run, 1)
        assert speed > 0
        assert milliseconds > 0
    assert set(decoding_alone(tmp_path, images=2, rounds=1)) == set(DECODERS)

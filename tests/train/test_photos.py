import numpy as np
import pytest
import torch
from PIL import Image

from usrnet.errors import UsrnetError, UsrnetWarning
from usrnet.io import read_rgb
from usrnet.train.photos import Draw, ResidentPhotos, StreamedPhotos, list_photos, open_photos

CPU = torch.device("cpu")


def draws(listing, count):
    return [Draw.random(np.random.default_rng(step), 5, listing.shares("pixels")) for step in range(count)]


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # on one core
@pytest.mark.parametrize("workers", [0, 2])
def test_streamed_and_resident_patches_are_the_same(photo_folder, workers):
    listing = list_photos([str(photo_folder)], 48)
    resident = ResidentPhotos(listing, CPU).patches(draws(listing, 6), 48)
    streamed = StreamedPhotos(listing, CPU, workers).patches(draws(listing, 6), 48)
    for a, b in zip(resident, streamed, strict=True):
        assert a.shape == (5, 3, 48, 48)
        assert a.dtype == torch.uint8
        assert torch.equal(a, b)


def test_a_patch_is_part_of_its_photo(photo_folder):
    listing = list_photos([str(photo_folder)], 40)
    draw = Draw(np.array([3]), np.array([[0.5, 0.999]]), np.array([[0, 0, 0]]))
    (patch,) = ResidentPhotos(listing, CPU).patches([draw], 40)
    photo = read_rgb(listing.files[3])
    top, left = int(0.5 * (photo.shape[0] - 39)), photo.shape[1] - 40
    assert np.array_equal(patch[0].permute(1, 2, 0), photo[top : top + 40, left : left + 40])


def test_every_symmetry_occurs(photo_folder):
    listing = list_photos([str(photo_folder)], 40)
    photos = ResidentPhotos(listing, CPU)
    seen = set()
    for switches in np.ndindex(2, 2, 2):
        draw = Draw(np.array([0]), np.array([[0.2, 0.2]]), np.array([switches]))
        seen.add(next(photos.patches([draw], 40)).numpy().tobytes())
    assert len(seen) == 8


def test_bad_photos_are_named_once_and_left_out(photo_folder, tmp_path):
    for path in photo_folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "text.jpg").write_text("not a photo")
    Image.new("RGB", (20, 300)).save(tmp_path / "thin.png")
    Image.new("L", (60, 60), 7).save(tmp_path / "grey.png")
    with pytest.warns(UsrnetWarning) as notes:
        listing = list_photos([str(tmp_path)], 48)
    assert len(listing.files) == 13
    assert sorted(str(note.message).split()[0] for note in notes) == ["1", "1"]
    damaged = next(path for path in listing.files if path.name.startswith("coffee 1"))
    damaged.write_bytes(damaged.read_bytes()[:2000])
    with pytest.warns(UsrnetWarning, match="coffee 1"):
        photos = ResidentPhotos(listing, CPU)
    with pytest.warns(UsrnetWarning, match="coffee 1"):
        streamed = list(StreamedPhotos(listing, CPU, 0).patches(draws(listing, 8), 48))
    assert all(torch.equal(a, b) for a, b in zip(photos.patches(draws(listing, 8), 48), streamed, strict=True))


def test_nothing_to_train_on(tmp_path):
    with pytest.raises(UsrnetError, match="does not exist"):
        list_photos([str(tmp_path / "gone")], 48)
    with pytest.raises(UsrnetError, match="no training photos"):
        list_photos([str(tmp_path)], 48)
    Image.new("RGB", (20, 300)).save(tmp_path / "thin.png")
    with pytest.raises(UsrnetError, match="1 are smaller than the patch of 48"):
        list_photos([str(tmp_path)], 48)


def test_held_out_photos_are_not_trained_on(photo_folder):
    held_out, rest = list_photos([str(photo_folder)], 48).split(3)
    assert len(held_out.files) == 3
    assert len(rest.files) == 9
    assert not set(held_out.files) & set(rest.files)
    assert rest.shares("pixels").sum() == pytest.approx(1)
    assert set(rest.shares("photos")) == {1 / 9}


def test_what_fits_is_resident(photo_folder):
    listing = list_photos([str(photo_folder)], 48)
    assert isinstance(open_photos(listing, CPU, resident="auto", workers=0), ResidentPhotos)
    assert isinstance(open_photos(listing, CPU, resident=False, workers=0), StreamedPhotos)


def test_shrunk_photos_are_there_beside_the_whole_ones(photo_folder):
    whole = list_photos([str(photo_folder)], 48)
    listing = whole.with_shrunk([0.5, 0.05], 48)
    large = (whole.sizes * 0.5).round().min(axis=1) >= 48
    assert len(listing.files) == len(whole.files) + large.sum()
    assert listing.files[len(whole.files)] == whole.files[int(np.argmax(large))]
    shrunk = listing.read(len(whole.files))
    assert shrunk.shape[:2] == tuple(listing.sizes[len(whole.files)])
    assert abs(float(shrunk.mean()) - float(listing.read(int(np.argmax(large))).mean())) < 1
    first = next(ResidentPhotos(listing, CPU).patches(draws(listing, 1), 48))
    assert torch.equal(first, next(StreamedPhotos(listing, CPU, 0).patches(draws(listing, 1), 48)))

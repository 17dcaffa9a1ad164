"""Kernel files of every kind, as people and instruments write them."""

import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.io import savemat
from scipy.sparse import csc_matrix

from usrnet import kernels
from usrnet.errors import UsrnetError, UsrnetWarning

fits = pytest.importorskip("astropy.io.fits")
h5py = pytest.importorskip("h5py")
PSF = kernels.gaussian(2.0, size=31)
STACK = np.stack([kernels.gaussian(width, size=15) for width in (1.0, 1.3, 1.6, 1.9)])


def write_hdf(path: Path, write) -> Path:
    """A .mat of version 7.3: HDF5 behind a block of 512 bytes."""
    with h5py.File(path, "w", userblock_size=512) as file:
        write(file)
    return path


@pytest.mark.parametrize("suffix", [s for s in kernels.SUFFIXES if s != ".png"])
@pytest.mark.parametrize("text", ["gaussian:1.6", "motion:3", "delta"])
def test_files_keep_the_kernel(tmp_path, suffix, text):
    kernel = kernels.parse(text, 2)
    path = tmp_path / f"k{suffix}"
    kernels.save(path, kernel)
    assert np.abs(kernels.load(path) - kernel).max() < (1e-8 if suffix in (".tif", ".tiff") else 1e-15)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".mat", ".tif"])
def test_files_keep_one_kernel_per_channel(tmp_path, suffix):
    kernel = np.stack([kernels.gaussian(width) for width in (1, 2, 3)], axis=-1)
    kernels.save(tmp_path / f"k{suffix}", kernel)
    assert np.allclose(kernels.load(tmp_path / f"k{suffix}"), kernel)


def test_every_kind_holds_several(tmp_path):
    np.save(tmp_path / "a.npy", STACK)
    np.save(tmp_path / "b.npy", np.moveaxis(STACK, 0, -1))
    np.savez(tmp_path / "c.npz", *STACK)
    np.savez(tmp_path / "d.npz", psf=STACK, name="lens", pitch=6.5)
    savemat(tmp_path / "e.mat", {"psf": np.moveaxis(STACK, 0, -1)})
    savemat(tmp_path / "f.mat", {"psf": STACK})
    tifffile.imwrite(tmp_path / "g.tif", STACK.astype(np.float32), photometric="minisblack")
    fits.PrimaryHDU(STACK[:, ::-1]).writeto(tmp_path / "h.fits")
    savemat(tmp_path / "i.mat", {"lens": {"first": STACK[0], "rest": list(STACK[1:])}})
    for path in sorted(tmp_path.iterdir()):
        assert len(kernels.load_all(path)) == 4, path
        assert np.abs(kernels.parse(f"{path}:3") - STACK[2]).max() < 1e-8, path
        with pytest.raises(UsrnetError, match=r"holds 4 kernels.*:1 to .*:4"):
            kernels.parse(str(path))
        with pytest.raises(UsrnetError, match="there are 4 kernels"):
            kernels.parse(f"{path}:5")


def test_three_in_a_mat_are_three_unless_said(tmp_path):
    three = np.moveaxis(STACK[:3], 0, -1)
    savemat(tmp_path / "k.mat", {"psf": three})
    with pytest.raises(UsrnetError, match=r"3 kernels \(3 of 15×15; if they are one per colour, write :rgb\)"):
        kernels.load(tmp_path / "k.mat")
    assert np.allclose(kernels.parse(f"{tmp_path / 'k.mat'}:rgb"), three)
    assert np.allclose(kernels.parse(f"{tmp_path / 'k.mat'}:2"), STACK[1])


@pytest.mark.filterwarnings("ignore:.*scaled to 1")
def test_what_is_ambiguous_is_said(tmp_path):
    np.save(tmp_path / "five.npy", np.ones((5, 3, 3)) / 9)
    with pytest.raises(UsrnetError, match="5 of 3×3; if it is one of 5×3 per colour channel write :rgb"):
        kernels.load(tmp_path / "five.npy")
    assert kernels.load(tmp_path / "five.npy", index=5).shape == (3, 3)
    assert kernels.load(tmp_path / "five.npy", index="rgb").shape == (5, 3, 3)


@pytest.mark.parametrize("shape", [(31, 31, 1), (1, 31, 31), (1, 31, 31, 1)])
def test_an_axis_too_many(tmp_path, shape):
    np.save(tmp_path / "k.npy", PSF.reshape(shape))
    assert np.array_equal(kernels.load(tmp_path / "k.npy"), kernels.check(PSF))
    savemat(tmp_path / "k.mat", {"k": PSF.reshape(shape)})
    assert np.allclose(kernels.load(tmp_path / "k.mat"), PSF)


def test_complex_numbers(tmp_path):
    np.save(tmp_path / "k.npy", np.fft.ifft2(np.fft.fft2(PSF)))
    assert np.allclose(kernels.load(tmp_path / "k.npy"), PSF)
    savemat(tmp_path / "k.mat", {"k": PSF + 0j})
    assert np.allclose(kernels.load(tmp_path / "k.mat"), PSF)
    np.save(tmp_path / "k.npy", np.fft.fft2(PSF))
    with pytest.raises(UsrnetError, match="complex numbers: a kernel is made of real ones"):
        kernels.load(tmp_path / "k.npy")


def test_sparse(tmp_path):
    savemat(tmp_path / "k.mat", {"K": csc_matrix(PSF)})
    assert np.array_equal(kernels.load(tmp_path / "k.mat"), kernels.check(PSF))


def test_matlab_7_3(tmp_path):
    lopsided = kernels.motion(3)  # not symmetric: axes would show

    def plain(file):
        file["k"] = lopsided.T
        file["k"].attrs["MATLAB_class"] = np.bytes_("double")
        file["name"] = np.array([[ord(letter)] for letter in "lens"], np.uint16)
        file["name"].attrs["MATLAB_class"] = np.bytes_("char")

    def cells(file):
        group = file.create_group("#refs#")
        for index, kernel in enumerate(STACK):
            group[f"r{index}"] = kernel.T
        file["k"] = np.array([[group[f"r{index}"].ref] for index in range(4)], h5py.ref_dtype)
        file["k"].attrs["MATLAB_class"] = np.bytes_("cell")

    def struct_(file):
        file.create_group("lens")["psf"] = lopsided.T

    def sparse(file):
        matrix = csc_matrix(lopsided)
        group = file.create_group("k")
        group.attrs["MATLAB_sparse"] = np.uint64(lopsided.shape[0])
        group["data"], group["ir"], group["jc"] = matrix.data, matrix.indices, matrix.indptr

    def compound(file):
        array = np.zeros(lopsided.shape, [("real", "f8"), ("imag", "f8")])
        array["real"] = lopsided.T
        file["k"] = array

    def stacked(file):
        file["k"] = np.moveaxis(STACK, 0, -1).T

    for write in (plain, struct_, sparse, compound):
        assert np.allclose(kernels.load(write_hdf(tmp_path / "k.mat", write)), lopsided), write
    for write in (cells, stacked):
        assert np.allclose(kernels.load_all(write_hdf(tmp_path / "k.mat", write)), STACK), write


NUMBERS = [[0.05, 0.1, 0.05], [0.1, 0.4, 0.1], [0.05, 0.1, 0.05]]


@pytest.mark.parametrize(
    "text",
    [
        "0.05,0.1,0.05\n0.1,0.4,0.1\n0.05,0.1,0.05\n",
        "\ufeff0.05,0.1,0.05\r\n0.1,0.4,0.1\r\n0.05,0.1,0.05\r\n",
        "0,05;0,1;0,05\n0,1;0,4;0,1\n0,05;0,1;0,05\n",
        "0,05\t0,1\t0,05\n0,1\t0,4\t0,1\n0,05\t0,1\t0,05",
        "0,05 0,1 0,05\n0,1 0,4 0,1\n0,05 0,1 0,05",
        "# measured\n0.05 0.1 0.05\n\n0.1 0.4 0.1 % middle\n0.05 0.1 0.05\n",
        "0.05, 0.1, 0.05,\n0.1, 0.4, 0.1,\n0.05, 0.1, 0.05,\n",
        "5e-2;1e-1;5e-2\n1e-1;4e-1;1e-1\n5e-2;1e-1;5e-2",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_numbers_as_people_write_them(tmp_path, text, encoding):
    for suffix in (".csv", ".txt"):
        (tmp_path / f"k{suffix}").write_bytes(text.encode(encoding))
        assert np.allclose(kernels.load(tmp_path / f"k{suffix}"), NUMBERS)


def test_whole_numbers_with_commas_are_separated_by_them(tmp_path):
    (tmp_path / "k.csv").write_text("1,2,1\n2,4,2\n1,2,1\n")
    with pytest.warns(UsrnetWarning, match="sum 16"):
        assert kernels.load(tmp_path / "k.csv").shape == (3, 3)


@pytest.mark.parametrize("text", ["", "a,b\nc,d", "1 2\n3"])
def test_texts_that_are_no_kernel(tmp_path, text):
    (tmp_path / "k.csv").write_text(text)
    with pytest.raises(UsrnetError, match=r"k\.csv"):
        kernels.load(tmp_path / "k.csv")


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64, np.int16])
def test_pictures_of_a_psf(tmp_path, dtype):
    top = 1 if np.dtype(dtype).kind == "f" else np.iinfo(dtype).max
    counts = PSF / PSF.max() * top
    counts = counts.astype(dtype) if np.dtype(dtype).kind == "f" else counts.round().astype(dtype)
    tifffile.imwrite(tmp_path / "k.tif", counts)
    fits.PrimaryHDU(counts[::-1]).writeto(tmp_path / "k.fits")
    for name in ("k.tif", "k.fits"):
        assert np.abs(kernels.load(tmp_path / name) - PSF).max() < 0.01 * PSF.max()


def test_the_first_row_of_a_fits_is_at_the_bottom(tmp_path):
    kernel = kernels.motion(3)
    kernels.save(tmp_path / "k.fits", kernel)
    assert np.allclose(fits.getdata(tmp_path / "k.fits"), kernel[::-1])


def test_a_gamma_is_said(tmp_path):
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add(b"gAMA", (45455).to_bytes(4, "big"))
    Image.fromarray((PSF / PSF.max() * 255).astype(np.uint8)).save(tmp_path / "k.png", pnginfo=info)
    with pytest.warns(UsrnetWarning, match=r"gamma-coded \(0\.454[56]\).*--gamma 2\.2"):
        kernels.load(tmp_path / "k.png")


# Limits


def test_sizes_are_checked_before_decoding(tmp_path):
    import tracemalloc

    big = np.lib.format.open_memmap(tmp_path / "k.npy", mode="w+", dtype=np.uint8, shape=(6000, 6000))
    del big
    Image.new("L", (6000, 6000)).save(tmp_path / "k.png")
    Image.new("L", (6000, 6000)).save(tmp_path / "k.tif", compression="tiff_adobe_deflate")
    savemat(tmp_path / "k.mat", {"k": np.zeros((6000, 6000))}, do_compression=True)
    with zipfile.ZipFile(tmp_path / "k.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(tmp_path / "k.npy", "k.npy")

    def huge(file):
        file.create_dataset("k", (6000, 6000), "f8", compression="gzip", chunks=(100, 100))

    write_hdf(tmp_path / "h.mat", huge)
    for path in sorted(tmp_path.iterdir()):
        tracemalloc.start()
        with pytest.raises(UsrnetError, match=r"too many|too much|limit"):
            kernels.load(path)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 40e6, path


@pytest.mark.parametrize("suffix", kernels.SUFFIXES)
@pytest.mark.parametrize(
    "content", [b"", b"no kernel at all", b"\x93NUMPY\x01\0v\0{", b"\x89HDF\r\n\x1a\n", b"PK\3\4"]
)
def test_damaged_files(tmp_path, suffix, content):
    path = tmp_path / f"k{suffix}"
    path.write_bytes(content)
    with pytest.raises(UsrnetError, match=r"k\.") as error:
        kernels.load(path)
    assert "\n" not in str(error.value)


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_bent_files_give_a_kernel_or_one_sentence(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("bent")
    suffix = data.draw(st.sampled_from(kernels.SUFFIXES))
    path = folder / f"k{suffix}"
    kernels.save(path, PSF)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(1, len(content)))])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sentence = ""
        try:
            assert kernels.load(path).ndim in (2, 3)
        except UsrnetError as error:
            sentence = str(error)
    assert "\n" not in sentence


def matlab(tmp_path: Path, variables: dict, bend=lambda data: data) -> Path:
    savemat(tmp_path / "k.mat", variables)
    (tmp_path / "k.mat").write_bytes(bend((tmp_path / "k.mat").read_bytes()))
    return tmp_path / "k.mat"


def test_matlab_files_whose_elements_are_no_ones_are_refused(tmp_path):
    """SciPy looks such types up beyond the end of a table."""
    cells = np.empty((1, 2), object)
    cells[0, 0], cells[0, 1] = PSF, PSF.T
    doubles, cell_class, sizes = b"\x09\0\0\0" + (PSF.nbytes).to_bytes(4, "little"), 144, 160
    for bend in (
        lambda data: data.replace(doubles, b"\x09\x08\0\0" + doubles[4:], 1),
        lambda data: data[:cell_class] + b"\5" + data[cell_class + 1 :],  # a sparse array made of arrays
        lambda data: data[:sizes] + (2**31 - 1).to_bytes(4, "little") + data[sizes + 4 :],  # 32 GB of cells
        lambda data: data[: sizes - 4] + b"\1" + data[sizes - 3 :],  # a single byte for the sides of the array
        lambda data: data[:-8],
    ):
        with pytest.raises(UsrnetError, match="cannot be read"):
            kernels.load_all(matlab(tmp_path, {"k": cells}, bend))
    assert len(kernels.load_all(matlab(tmp_path, {"k": cells}))) == 2


@pytest.mark.parametrize("places", [(40, 0), (-3, 0), (0, 500)])
def test_sparse_matrices_whose_indices_point_outside(tmp_path, places):
    row, start = places
    matrix = csc_matrix(PSF)
    indices, starts = matrix.indices.copy(), matrix.indptr.copy()
    indices[5] = row or indices[5]
    starts[3] = start or starts[3]

    def write(file):
        group = file.create_group("k")
        group.attrs["MATLAB_sparse"] = np.uint64(PSF.shape[0])
        group["data"], group["ir"], group["jc"] = matrix.data, indices, starts

    with pytest.raises(UsrnetError, match="cannot be read"):
        kernels.load(write_hdf(tmp_path / "h.mat", write))

    def bend(data: bytes) -> bytes:
        data = data.replace(matrix.indices.astype("<i4").tobytes(), indices.astype("<i4").tobytes())
        return data.replace(matrix.indptr.astype("<i4").tobytes(), starts.astype("<i4").tobytes())

    with pytest.raises(UsrnetError, match="cannot be read"):
        kernels.load(matlab(tmp_path, {"k": matrix}, bend))


def test_a_sparse_matrix_without_its_values(tmp_path):
    """SciPy takes what comes next in the file for them."""

    def bend(data: bytes) -> bytes:
        return data[:132] + (40).to_bytes(4, "little") + data[136:176]  # flags, sizes and name are left

    with pytest.raises(UsrnetError, match="an array without its values"):
        kernels.load(matlab(tmp_path, {"k": csc_matrix(PSF)}, bend))
    with pytest.raises(UsrnetError, match="an array without its values"):
        kernels.load(matlab(tmp_path, {"k": PSF}, bend))


def test_an_empty_sparse_matrix_whose_columns_are_not(tmp_path):
    empty = csc_matrix((9, 9))
    starts = empty.indptr.astype("<i4").tobytes()

    def bend(data: bytes) -> bytes:
        return data.replace(starts, starts[:12] + (10_000_000).to_bytes(4, "little") + starts[16:])

    with pytest.raises(UsrnetError, match="end before they begin"):
        kernels.load(matlab(tmp_path, {"k": empty}, bend))


def test_a_file_that_python_2_wrote(tmp_path):
    np.save(tmp_path / "k.npy", PSF)
    data = (tmp_path / "k.npy").read_bytes()
    (tmp_path / "k.npy").write_bytes(data.replace(b"(31, 31), ", b"(31L, 31L)", 1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.array_equal(kernels.load(tmp_path / "k.npy"), kernels.check(PSF))


@pytest.mark.parametrize("shape", [(2**14, 1, 2), (2**14, 2, 1, 1)])
def test_too_many_kernels(tmp_path, shape):
    np.save(tmp_path / "k.npy", np.ones(shape, np.uint8))
    with pytest.raises(UsrnetError, match="too many kernels"):
        kernels.load(tmp_path / "k.npy")


@pytest.mark.parametrize("values", [np.zeros((0, 5, 5)), np.zeros((0, 0, 7, 7)), np.zeros((2**24, 0, 0, 1))])
def test_files_without_a_kernel(tmp_path, values):
    np.save(tmp_path / "k.npy", values)
    with pytest.raises(UsrnetError, match=r"no kernel|not kernels"):
        kernels.load(tmp_path / "k.npy")

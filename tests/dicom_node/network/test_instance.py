"""Reading what an instance is from its bytes, against pydicom's and dcmtk's own reading."""

import zlib
from pathlib import Path

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from dicom_node.network.instance import InvalidInstanceError, file_meta, is_uid, read_header
from tests.dicom_node.network.instances import data_set_bytes, encoded, mr_instance
from tests.peers import DCMTK_MISSING, dcmtk

SYNTAXES = [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian]


def nested() -> Dataset:
    """An instance with sequences of undefined length and a private element behind the pixel data."""
    instance = mr_instance("1.2.3", "1.2.4", 7)
    item = Dataset()
    item.ReferencedSOPInstanceUID = "9.9.9"
    item.StudyInstanceUID = "6.6.6"  # a UID inside a sequence is not the study's
    item.is_undefined_length_sequence_item = True
    instance.ReferencedImageSequence = Sequence([item, item])
    instance["ReferencedImageSequence"].is_undefined_length = True
    instance.add_new(0x7FE10010, "LO", "PRIVATE")
    return instance


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_uids_are_read_in_every_encoding(syntax: UID) -> None:
    header = read_header(encoded(nested(), syntax), syntax)
    assert (header.study_uid, header.series_uid) == ("1.2.3", "1.2.4")
    assert header.sop_instance_uid == nested().SOPInstanceUID


def test_a_deflated_data_set_is_read_and_a_cut_one_refused() -> None:
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    data = deflater.compress(encoded(nested())) + deflater.flush()
    assert read_header(data + b"\0", DeflatedExplicitVRLittleEndian).study_uid == "1.2.3"
    with pytest.raises(InvalidInstanceError, match="cut off"):
        read_header(data[:-20], DeflatedExplicitVRLittleEndian)


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_every_cut_inside_an_element_is_noticed(syntax: UID) -> None:
    instance = mr_instance("1.2.3", "1.2.4", 1, side=2)
    whole = encoded(instance, syntax)
    tags = sorted(instance.keys())
    heads = [Dataset({tag: instance[tag] for tag in tags[:count]}) for count in range(len(tags) + 1)]
    borders = {len(encoded(head, syntax)) for head in heads}
    unnoticed = borders | {
        border + 1 for border in borders if whole[border : border + 1] == b"\0"
    }  # looks like padding
    for length in set(range(len(whole))) - unnoticed:
        with pytest.raises(InvalidInstanceError):
            read_header(whole[:length], syntax)


@pytest.mark.parametrize(
    "name", ["MR_small_RLE.dcm", "MR_small_jp2klossless.dcm", "JPEG-lossy.dcm", "SC_rgb_rle_2frame.dcm"]
)
def test_a_compressed_image_that_is_cut_off_is_noticed(name: str) -> None:
    path = get_testdata_file(name, download=False)
    data, syntax = data_set_bytes(Path(str(path))), pydicom.dcmread(str(path)).file_meta.TransferSyntaxUID
    assert read_header(data, syntax).sop_instance_uid == pydicom.dcmread(str(path)).SOPInstanceUID
    for cut in (8, 100, len(data) // 2):
        with pytest.raises(InvalidInstanceError):
            read_header(data[:-cut], syntax)


def test_padding_with_zeros_is_let_through() -> None:
    assert read_header(encoded(nested()) + b"\0", ExplicitVRLittleEndian).study_uid == "1.2.3"


@given(text=st.text(alphabet="0123456789./\\\n ٣", max_size=70))
def test_what_passes_as_uid_is_a_harmless_file_name(text: str) -> None:
    if is_uid(text):
        assert Path("folder", text).parent == Path("folder")
        assert Path(text).name == text
        assert text.isascii()
        assert text not in (".", "..")


@pytest.mark.parametrize("text", ["1.2.840.10008.1.1", "2.25.329800735698586629295641978511506172918", "0", "1.02.3"])
def test_real_uids_pass(text: str) -> None:
    assert is_uid(text)


@pytest.mark.parametrize("text", ["", ".", "..", "1.", ".1", "1..2", "1.2\n", "1/2", "1" * 65, "1.2a"])
def test_others_do_not(text: str) -> None:
    assert not is_uid(text)


@pytest.mark.end_to_end
@DCMTK_MISSING
def test_dcmtk_reads_the_file_meta_written_by_hand(tmp_path: Path) -> None:
    instance = nested()
    meta = file_meta(
        sop_class_uid=instance.SOPClassUID,
        sop_instance_uid=instance.SOPInstanceUID,
        transfer_syntax_uid=ExplicitVRLittleEndian,
        source_ae_title="ODD",
    )
    path = tmp_path / "file.dcm"
    path.write_bytes(meta + encoded(instance))
    status, dump = dcmtk("dcmdump", "+L", path)
    assert status == 0
    assert "W:" not in dump
    assert "E:" not in dump
    assert "ODD" in dump
    read = pydicom.dcmread(path)
    assert read.file_meta.MediaStorageSOPInstanceUID == read.SOPInstanceUID == instance.SOPInstanceUID

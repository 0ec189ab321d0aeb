"""`mimaface animate VIDEO AUDIO --region lips`: only the mouth changes, it closes in silence, and audio is exact."""

import json
import wave
from fractions import Fraction

import cv2
import numpy as np
import pytest
from scipy.signal import resample_poly

from mimaface_cli.face.landmarks import FaceLandmarker, locate_landmark_model
from mimaface_cli.media.reader import read_frames
from mimaface_cli.media.waveform import SAMPLE_RATE
from tests.conftest import read_video, write_video
from tests.media.ffmpeg import decode_channels
from tests.media.synthetic_media import measure_delay
from tests.speech.synthetic_speech import synthesize_speech

RATE, COUNT = Fraction(25), 24
EXACT = ("--lossless", "--no-provenance", "--json")


@pytest.fixture(scope="module")
def folder(sample, tmp_path_factory):
    """A talking video of one face, one of two faces, and speech between two silences."""
    folder = tmp_path_factory.mktemp("dubbing")
    images = (image[10:230, 110:330] for image in read_video(sample.driver)[0])
    frames = [cv2.resize(image, (240, 240), interpolation=cv2.INTER_CUBIC) for image in images]
    frames = (frames + frames[::-1])[:COUNT]
    times = [Fraction(k, 25) for k in range(COUNT)]
    write_video(folder / "talk.mp4", frames, times, RATE)
    pairs = [np.hstack([one, other]) for one, other in zip(frames, frames[5:] + frames[:5], strict=True)]
    write_video(folder / "two.mp4", pairs[:12], times, RATE)
    parts = ("", 0.32), ("m", 0.06), ("ah", 0.24), ("m", 0.06), ("", 0.32)
    samples = np.round(20000 * synthesize_speech(*parts)).astype(np.int16)
    with wave.open(str(folder / "voice.wav"), "wb") as file:
        file.setparams((1, 2, SAMPLE_RATE, 0, "NONE", ""))
        file.writeframes(samples.tobytes())
    (folder / "speakers.csv").write_text("start,end,face\n0,1,right\n")
    return folder


def decode(path) -> np.ndarray:
    """Return the frames as the program reads them."""
    return np.stack([frame.image for frame in read_frames(path)])


@pytest.fixture(scope="module")
def landmarker():
    landmarker = FaceLandmarker(locate_landmark_model(), is_video=False, max_faces=1)
    yield landmarker
    landmarker.close()


def measure_gaps(frames: np.ndarray, landmarker: FaceLandmarker) -> np.ndarray:
    """Return the inner-lip gap of each frame, in distances of the eye corners."""
    points = [landmarker(frame)[0].points for frame in frames]
    return np.array([np.linalg.norm(p[13] - p[14]) / np.linalg.norm(p[33] - p[263]) for p in points])


@pytest.fixture(scope="module")
def dubbed(folder, sample):
    """The video, dubbed without loss, and the report."""
    from mimaface_cli.apps.animate import animate
    from mimaface_cli.apps.animate_options import AnimateOptions
    from mimaface_cli.cache import Cache
    from mimaface_cli.media.encode_options import EncodeOptions
    from mimaface_cli.motion.retarget_options import RetargetOptions
    from mimaface_cli.provenance.provenance_options import ProvenanceOptions

    options = AnimateOptions(
        retarget=RetargetOptions(region="lips"),
        encode=EncodeOptions(lossless=True),
        provenance=ProvenanceOptions(on=False),
    )
    output = folder / "dubbed.mkv"
    animate(folder / "talk.mp4", folder / "voice.wav", output, options, cache=Cache(sample.cache))
    return decode(folder / "talk.mp4"), decode(output), output


def test_dubbed_video_equals_its_source_outside_the_lower_face(dubbed, landmarker):
    source, result, _ = dubbed
    assert result.shape == source.shape
    for before, after in zip(source, result, strict=True):
        points = landmarker(before)[0].points
        changed = (before != after).any(2)
        (left, top), (right, bottom) = points.min(0), points.max(0)
        reach = 0.4 * (bottom - top) + 4
        rows, columns = np.nonzero(changed)
        slope = (points[263, 1] - points[33, 1]) / (points[263, 0] - points[33, 0])
        below_eyes = rows - points[33, 1] - (columns - points[33, 0]) * slope
        assert len(rows) and below_eyes.min() > 0
        assert columns.min() > left - reach and columns.max() < right + reach and rows.max() < bottom + reach


def test_dubbed_mouth_closes_in_silence_and_opens_in_speech(dubbed, landmarker):
    source, result, _ = dubbed
    before, after = measure_gaps(source, landmarker), measure_gaps(result, landmarker)
    silent = np.r_[0:6, COUNT - 4 : COUNT]
    assert before.max() > 0.1  # the source speaks
    assert (after[silent] < 0.03).all()
    assert after[10:15].max() > 0.05


def test_audio_of_a_dubbed_video_is_that_of_the_file_sample_by_sample(dubbed, folder):
    played, given = (decode_channels(path, 1)[0] for path in (dubbed[2], folder / "voice.wav"))
    count = COUNT * SAMPLE_RATE // 25
    assert len(played) == count
    np.testing.assert_array_equal(played, given[:count])


def test_compressed_audio_of_a_dubbed_video_starts_with_its_first_frame(run_command, folder, tmp_path):
    done = run_command("animate", folder / "talk.mp4", folder / "voice.wav", "--region", "lips", "-o", "out.mp4", "-q")
    assert done.code == 0, done.err
    played, given = (decode_channels(path, 1)[0] for path in (tmp_path / "out.mp4", folder / "voice.wav"))
    delay, correlation = measure_delay(resample_poly(played, SAMPLE_RATE, 48_000), given, SAMPLE_RATE)
    assert correlation > 0.99 and abs(delay) < 0.001


def test_fit_loop_repeats_the_source_until_the_audio_ends(run_command, folder, tmp_path):
    words = ("--region", "lips", "--fit", "loop", "-o", "out.mkv", "--duration", "0.2")
    done = run_command("animate", folder / "two.mp4", folder / "voice.wav", *words, *EXACT)
    assert done.code == 0, done.err
    assert json.loads(done.out)["frames"] == 5
    words = ("--region", "lips", "--fit", "loop", "-o", "long.mkv", "--face", "left")
    done = run_command("animate", folder / "two.mp4", folder / "voice.wav", *words, *EXACT)
    result = json.loads(done.out)
    assert result["frames"] == 25 and any("is repeated from its start" in note for note in result["notes"])
    source, frames = decode(folder / "two.mp4"), decode(tmp_path / "long.mkv")
    assert np.array_equal(frames[:, :60], source[np.arange(25) % 12][:, :60])
    assert np.array_equal(frames[:, :, 240:], source[np.arange(25) % 12][:, :, 240:])


def test_speakers_are_dubbed_for_themselves(run_command, folder, tmp_path):
    words = ("--speakers", folder / "speakers.csv", "-o", "out.mkv")
    done = run_command("animate", folder / "two.mp4", folder / "voice.wav", *words, *EXACT)
    assert done.code == 0, done.err
    source, frames = decode(folder / "two.mp4"), decode(tmp_path / "out.mkv")
    assert np.array_equal(frames[:, :, :240], source[:, :, :240])
    assert (frames[:, 120:, 240:] != source[:, 120:, 240:]).any()


@pytest.mark.parametrize(("source", "driver"), [("photo", "voice.wav"), ("talk.mp4", "talk.mp4")])
def test_speakers_need_a_video_and_audio(run_command, sample, folder, source, driver):
    source = sample.portrait if source == "photo" else folder / source
    done = run_command("animate", source, folder / driver, "--speakers", folder / "speakers.csv", "-o", "out.mp4")
    assert done.code != 0 and "--speakers: needs" in done.err and len(done.err.splitlines()) == 1


def test_telephone_audio_dubs_with_a_note(run_command, folder, tmp_path):
    with wave.open(str(tmp_path / "phone.wav"), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(np.zeros(800, np.int16).tobytes())
    done = run_command(
        "animate", folder / "two.mp4", "phone.wav", "--region", "lips", "--fit", "audio", "-o", "out.mkv", *EXACT
    )
    assert done.code == 0, done.err
    result = json.loads(done.out)
    assert result["frames"] == 3 and any("of 8 kHz" in note for note in result["notes"])

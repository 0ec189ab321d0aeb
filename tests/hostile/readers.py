"""Every reader of ours, with whole files to start from: what each may say of a harmed one is a value or one line."""

import functools
import importlib.util
import io
import json
import pickle
import tempfile
import wave
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image

from mimaface_cli.errors import MimafaceError
from mimaface_cli.motion.track import MotionTrack

MOST_SECONDS = 20.0  # of one case; the slowest honest one takes a fraction of a second
MOST_FRAMES = 400  # decoded of a harmed video: its header may promise hours


@dataclass(frozen=True)
class Reader:
    """name; suffix of the file; whole: its bytes; read: given the path, reads all of it. fallback: the reader answers
    harm with nothing instead of a line (caches and manifests, which are made anew). named: what the file must be called,
    where that matters.
    """

    name: str
    suffix: str
    whole: Callable[[], bytes]
    read: Callable[[Path], object]
    fallback: bool = False
    named: str = ""

    @property
    def file_name(self) -> str:
        return self.named or f"given{self.suffix}"


def outcome(reader: Reader, path: Path) -> str:
    """ "read" or "refused". Raises what a user would see as a traceback: whatever is no MimafaceError, or one that is
    longer than a line, or does not say which file it speaks of. (Line ends in it are escaped where it is printed.)
    """
    try:
        reader.read(path)
    except MimafaceError as error:
        said = str(error)
        if path.name not in said or len(said) > 1000 or reader.fallback:
            raise AssertionError(f"not one clear line: {said[:500]!r}") from error
        return "refused"
    return "read"


def _track() -> MotionTrack:
    track = MotionTrack.neutral(12, "face478")
    return replace(track, expression=np.random.default_rng(0).uniform(0, 1, track.expression.shape).astype(np.float32))


def _packed_track() -> bytes:
    buffer = io.BytesIO()
    track = _track()
    arrays = {name: getattr(track, name) for name in ("identity", "texture", "expression", "illumination", "pose")}
    arrays |= {name: getattr(track, name) for name in ("gaze", "crop", "pts", "valid")}
    np.savez_compressed(buffer, **arrays, meta=np.array(track.meta.to_json()))
    return buffer.getvalue()


def _exported(format: str) -> Callable[[], bytes]:
    def make() -> bytes:
        from mimaface_cli.motion.formats.csv_format import write_csv
        from mimaface_cli.motion.formats.json_format import write_json
        from mimaface_cli.motion.formats.livelink import write_livelink

        text = io.StringIO()
        {"json": write_json, "csv": write_csv, "livelink": write_livelink}[format](_track(), text)
        return text.getvalue().encode()

    return make


def _import(format: str) -> Callable[[Path], object]:
    def read(path: Path) -> object:
        from mimaface_cli.motion.formats import import_track

        return import_track(path, format, Fraction(25) if format != "json" else None)

    return read


def _keys(path: Path) -> object:
    from mimaface_cli.motion.keyframes import group_keyframes, read_keyframes

    return group_keyframes(read_keyframes(path, "face478"))


def _list(path: Path) -> object:
    from mimaface_cli.evaluation.pair_lists import read_list

    return read_list(path)


def _safetensors() -> bytes:
    import torch
    from safetensors.torch import save

    return save({f"layer.{k}.weight": torch.arange(12.0).reshape(3, 4) for k in range(6)}, {"heads": "2"})


def _pickled() -> bytes:
    import torch

    buffer = io.BytesIO()
    torch.save({"state_dict": {f"layer.{k}.weight": torch.ones(3, 4) for k in range(6)}}, buffer)
    return buffer.getvalue()


def _old_pickled() -> bytes:
    import torch

    buffer = io.BytesIO()
    torch.save({f"layer.{k}.weight": torch.ones(3, 4) for k in range(6)}, buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()


def _network(path: Path) -> object:
    from mimaface_cli.weights.checkpoint_files import read_attention_heads, read_network

    read_attention_heads(path)
    return read_network(path, "inception")


def _config(path: Path) -> object:
    from mimaface_cli.weights.checkpoint_files import check_unconverted

    return check_unconverted(path, "unet config")


def _bfm() -> bytes:
    from scipy.io import savemat

    buffer = io.BytesIO()
    savemat(buffer, {"meanshape": np.zeros((1, 30)), "tri": np.ones((4, 3)), "keypoints": np.ones((1, 68))})
    return buffer.getvalue()


def _check_bfm(path: Path) -> object:
    from mimaface_cli.weights.checkpoint_files import check_unconverted

    return check_unconverted(path, "bfm09")


def _manifest(path: Path) -> object:
    from mimaface_cli.weights import manifest

    target = path.parent / manifest.FILE_NAME
    if target != path:
        path.replace(target)
    return manifest.read(path.parent)


def _lips(path: Path) -> object:
    from mimaface_cli.speech import lip_model_file

    return lip_model_file._read_lip_model.__wrapped__(path)


def _face(path: Path) -> object:
    from mimaface_cli.face import face478

    return face478._load.__wrapped__(path)


def _shipped(name: str) -> Callable[[], bytes]:
    return lambda: (Path(__file__).parents[2] / "weights" / name).read_bytes()


def _figures(path: Path) -> object:
    from mimaface_cli.cache import Cache

    cache = Cache(path.parent)
    target = cache._figures_path("0" * 64)
    target.parent.mkdir(parents=True, exist_ok=True)
    path.replace(target)
    return cache.load_figures("0" * 64)


def _clip(path: Path) -> object:
    from mimaface_cli.engines.diffusion.clip_store import ClipStore

    store = ClipStore(path.parent, "run", (1, 4, 2, 8, 8))
    store.folder.mkdir(exist_ok=True)
    path.replace(store._path(0))
    return store.load(0)


def _kept_clip() -> bytes:
    import torch
    from safetensors.torch import save

    return save({"latents": torch.zeros(1, 4, 2, 8, 8)})


@functools.cache
def _program():
    from typer.main import get_command

    from mimaface_cli.cli.app import app

    return get_command(app)


def _jobs(path: Path) -> object:
    from mimaface_cli.batch.job_file import read_jobs
    from mimaface_cli.cli.batch import _job_options, _parse_problem

    animate = _program().commands["animate"]
    return [job.words for job in read_jobs(path, _job_options(animate), lambda words: _parse_problem(animate, words))]


def _settings(path: Path) -> object:
    from mimaface_cli.cli.config_file import VARIABLE, load_config

    return load_config(_program(), {VARIABLE: str(path)})


def _job_record() -> bytes:
    from dataclasses import asdict

    from mimaface_cli.batch.job_state import DONE, JobRecord

    stamps = {"/a/b.jpg": [3, 4], "/a/c.mp4": [5, 6]}
    return json.dumps(
        asdict(JobRecord(DONE, 1, 2, "o.mp4", 0, "", 1.5, {"frames": 3}, stamps, True, 1.0, 2.0, "h 1"))
    ).encode()


def _state(path: Path) -> object:
    """A job's record, and what a later run makes of it."""
    from mimaface_cli.batch.job_run import CommandOutcome, run_job
    from mimaface_cli.batch.job_state import StateFolder
    from mimaface_cli.batch.jobs import Job

    output = path.with_name("o.mp4")
    output.write_bytes(b"1")
    job = Job(path.stem, 2, "b.jpg", "c.mp4", "o.mp4", {}, (Path("/a/b.jpg"), Path("/a/c.mp4")), (output,))
    return run_job(StateFolder(path.parent), job, 3, False, lambda words, log: CommandOutcome(0, "", None))


def _train_config(path: Path) -> object:
    from mimaface_cli.training.config_reader import load_config

    return load_config(path)


def _shard() -> bytes:
    from mimaface_cli.training.shards import TrainingClip, write_shard

    pictures = np.random.default_rng(0).integers(0, 255, (2, 12, 32, 32, 3), np.uint8)
    points = np.zeros((12, 5, 2), np.float32)
    seen = np.zeros(261, np.float32), np.zeros(98, np.float32)
    clip = TrainingClip("a-1", "a", "a/1.mp4", pictures[0], _track(), points, pictures[0, 0], pictures[1], *seen)
    with tempfile.TemporaryDirectory() as folder:
        write_shard(Path(folder) / "s.tar", [clip])
        return (Path(folder) / "s.tar").read_bytes()


def _shards(path: Path) -> object:
    from mimaface_cli.training.shard_reader import open_shards

    found = []
    for clip in open_shards(path.parent):
        found += [clip.track(), clip.landmarks(), *(clip.frame(k) for k in range(min(clip.count, 20)))]
        found += [clip.photo(), *(clip.render(k) for k in range(min(clip.count, 20)))] if clip.has_renders else []
        found += [clip.photo_coefficients(), clip.photo_features()] if clip.has_features else []
    return found


def _card(path: Path) -> object:
    from mimaface_cli.engines.diffusion.denoise_settings import PRESETS
    from mimaface_cli.engines.diffusion.small_checkpoint import resolve_settings
    from mimaface_cli.evaluation.preference import judge
    from mimaface_cli.weights.small_model import read_card

    card = read_card(path.parent)
    judge(card.scores)
    return resolve_settings(card, PRESETS["release"])


def _made_record(folder: Path):
    from mimaface_cli.provenance import record

    (folder / "photo.jpg").write_bytes(b"1")
    return record.build("edit", "mesh", {"source": folder / "photo.jpg"}, [], {"strength": 1.0}, whole=False)


def _sidecar() -> bytes:
    from mimaface_cli.provenance import record

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"given.bmp{record.SUFFIX}"
        record.write(path, Path(_blank_picture(path)), _made_record(Path(folder)), {"watermark": True})
        return path.read_bytes()


def _blank_picture(sidecar: Path) -> Path:
    path = sidecar.with_name("given.bmp")
    Image.new("RGB", (40, 30)).save(path)
    return path


def _beside(path: Path) -> object:
    return _inspected(_blank_picture(path))


def _told(suffix: str, size: tuple[int, int] = (64, 48), frames: int = 1, signed: bool = False) -> Callable[[], bytes]:
    """A result with all that the project writes into it."""

    def make() -> bytes:
        from mimaface_cli.media.attachments import Attachments
        from mimaface_cli.media.writer import open_writer
        from mimaface_cli.provenance import credentials, metadata

        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            made, seal = _made_record(folder), None
            if signed:
                from tests.provenance.certificates import make as certificates

                signer = credentials.load_certificate(*certificates(folder))
                seal = lambda path: credentials.sign(path, signer, made, {})  # noqa: E731
            attachments = Attachments(metadata.tags(made), metadata.xmp(made), seal)
            with open_writer(folder / f"a{suffix}", *size, Fraction(25), attachments=attachments) as writer:
                for k in range(frames):
                    writer.write(np.full((size[1], size[0], 3), 40 + k, np.uint8), k / 25)
            return (folder / f"a{suffix}").read_bytes()

    return make


def _inspected(path: Path) -> object:
    from mimaface_cli.cli.inspect import _lines
    from mimaface_cli.provenance.inspect import inspect

    found = inspect(path)
    return _lines(found), found.identifiers, found.recognized, found.agree


def _picture(format: str) -> Callable[[], bytes]:
    def make() -> bytes:
        buffer = io.BytesIO()
        noise = np.random.default_rng(0).integers(0, 255, (40, 56, 3), np.uint8)
        Image.fromarray(noise).resize((112, 80)).save(buffer, format)
        return buffer.getvalue()

    return make


def _image(path: Path) -> object:
    from mimaface_cli.media.image import read_image

    return read_image(path)


def _film(suffix: str, codec: str, sound: str | None = None) -> Callable[[], bytes]:
    """24 frames of 96x64 and, with the named codec, a second of noise."""

    def make() -> bytes:
        rng = np.random.default_rng(0)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"a.{suffix}"
            with av.open(str(path), "w") as out:
                video = out.add_stream(codec, rate=25, options={"x265-params": "log-level=none"})
                video.width, video.height, video.pix_fmt = 96, 64, "yuv420p"
                voice = out.add_stream(sound, rate=16_000, layout="mono") if sound else None
                for _ in range(24):
                    image = rng.integers(0, 255, (8, 12, 3), np.uint8).repeat(8, 0).repeat(8, 1)
                    out.mux(video.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
                out.mux(video.encode(None))
                if voice is not None:
                    noise = rng.integers(-9000, 9000, (1, 15_360), np.int16)
                    frame = av.AudioFrame.from_ndarray(noise, "s16", "mono")
                    frame.sample_rate = 16_000
                    out.mux(voice.encode(frame))
                    out.mux(voice.encode(None))
            return path.read_bytes()

    return make


def _video(path: Path) -> object:
    from mimaface_cli.media.reader import probe, read_frames

    probe(path)
    frames = read_frames(path, max_frames=MOST_FRAMES)
    try:
        return sum(frame.image.shape[0] > 0 for frame in frames)
    finally:
        frames.close()


def _wave() -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setparams((2, 2, 44_100, 0, "NONE", ""))
        file.writeframes(np.random.default_rng(0).integers(-8000, 8000, 8_000, np.int16).tobytes())
    return buffer.getvalue()


def _sound(path: Path) -> object:
    from mimaface_cli.media.waveform import open_waveform

    with open_waveform(path) as samples:
        return samples.read(0, min(len(samples), 1_000_000)).sum()


_KEYS = b"time,yaw,jawOpen\n0,0,0\n0.5,12.5,0.4\n1,-3,0\n"
_LIST = (
    b"source,driver,source_frame,start,frames,stride,result\na.png,b.mp4,0,0,10,1,r.mp4\nc.png,b.mp4,0,5,10,2,s.mp4\n"
)
_UNET = b'{"block_out_channels": [320, 640], "cross_attention_dim": 768, "layers": {"a": [1, 2, 3]}}'
_MANIFEST = (
    b'{"version": 1, "files": {"vae.safetensors": {"size": 12, "mtime_ns": 3, "sha256": "00", "source": "x",'
    b' "source_sha256": "11"}}}'
)

_JOBS = (
    b"source,driver,output,strength,compare,provenance\n"
    b'a.jpg,b.mp4,o/1.mp4,1.2,yes,\n"a, b.jpg",c.npz,o/2.mp4,,,no\nd.jpg,o/1.mp4,frames/%05d.png,0.5,,\n'
)
_JOB_LINES = (
    b'{"source": "a.jpg", "driver": "b.mp4", "output": "o.mp4", "strength": 1.2, "compare": true}\n'
    b'{"source": "a.jpg", "driver": "o.mp4", "output": "p.mp4", "matte": "m.mp4", "no-provenance": false}\n'
)
_SETTINGS = (
    b'[animate]\ncrf = 20\nregion = "lips"\nprovenance = true\n[edit]\nset = ["yaw=3"]\n[track.show]\njson = false\n'
)
_TRAINING = (
    b'data = "data"\noutput = "run"\nspace = "bfm09"\nsize = 512\nrecipe = "paper"\nprecision = "bf16"\n'
    b'[model]\nstart = "sd15"\n[image.optimizer]\nmicro = 8\nlearning_rate = 1e-5\n[video]\nclip = 12\n'
)
_CARD = (
    b'{"space": "face478", "name": "mini", "size": 128, "condition": "textured", "settings": {"steps": 8, "guidance": 2.0},'
    b' "scores": {"mesh": {"psnr": 20.0, "ssim": 0.8}, "diffusion": {"psnr": 21.0}}, "about": {"data": "x"}}'
)
_SIGNED = ((".jpg", 1), (".png", 1), (".mp4", 3))

READERS: tuple[Reader, ...] = (
    Reader("track", ".npz", _packed_track, MotionTrack.load),
    Reader("track json", ".json", _exported("json"), _import("json")),
    Reader("track csv", ".csv", _exported("csv"), _import("csv")),
    Reader("live link csv", ".csv", _exported("livelink"), _import("livelink")),
    Reader("keyframes", ".csv", lambda: _KEYS, _keys),
    Reader("evaluation list", ".csv", lambda: _LIST, _list),
    Reader("safetensors", ".safetensors", _safetensors, _network),
    Reader("pickle", ".pth", _pickled, _network),
    Reader("old pickle", ".pth", _old_pickled, _network),
    Reader("bare pickle", ".pth", lambda: pickle.dumps({"a": [1, 2, "text", 3.5]}), _network),
    Reader("network config", ".json", lambda: _UNET, _config),
    Reader("face model mat", ".mat", _bfm, _check_bfm),
    Reader("face478", ".npz", _shipped("face478.npz"), _face),
    Reader("speech478", ".npz", _shipped("speech478.npz"), _lips),
    Reader("manifest", ".json", lambda: _MANIFEST, _manifest, fallback=True),
    Reader("kept figures", ".json", lambda: b'{"psnr": 20.5, "frames": [1, 2, 3]}', _figures, fallback=True),
    Reader("kept clip", ".safetensors", _kept_clip, _clip, fallback=True),
    Reader("png", ".png", _picture("PNG"), _image),
    Reader("jpeg", ".jpg", _picture("JPEG"), _image),
    Reader("webp", ".webp", _picture("WEBP"), _image),
    Reader("tiff", ".tif", _picture("TIFF"), _image),
    Reader("bmp", ".bmp", _picture("BMP"), _image),
    Reader("h264 mp4", ".mp4", _film("mp4", "libx264", "aac"), _video),
    Reader("hevc mov", ".mov", _film("mov", "libx265", "aac"), _video),
    Reader("mpeg4 avi", ".avi", _film("avi", "mpeg4", "pcm_s16le"), _video),
    Reader("vp9 webm", ".webm", _film("webm", "libvpx-vp9"), _video),
    Reader("ffv1 mkv", ".mkv", _film("mkv", "ffv1", "pcm_s16le"), _video),
    Reader("mpeg2 ts", ".ts", _film("ts", "mpeg2video"), _video),
    Reader("sound of mp4", ".mp4", _film("mp4", "libx264", "aac"), _sound),
    Reader("wav", ".wav", _wave, _sound),
    Reader("job file csv", ".csv", lambda: _JOBS, _jobs),
    Reader("job file json", ".jsonl", lambda: _JOB_LINES, _jobs),
    Reader("settings", ".toml", lambda: _SETTINGS, _settings),
    Reader("job record", ".json", _job_record, _state, fallback=True),
    Reader("train config", ".toml", lambda: _TRAINING, _train_config),
    Reader("shard", ".tar", _shard, _shards, named="shard-00000.tar"),
    Reader("mini card", ".json", lambda: _CARD, _card, named="card.json"),
    Reader("record", ".json", _sidecar, _beside, named="given.bmp.provenance.json"),
    *(
        Reader(f"told by {suffix[1:]}", suffix, _told(suffix), _inspected)
        for suffix in (".png", ".jpg", ".webp", ".tif")
    ),
    *(
        Reader(f"told by {suffix[1:]}", suffix, _told(suffix, frames=3), _inspected)
        for suffix in (".mp4", ".mov", ".mkv")
    ),
    *([Reader("told by exr", ".exr", _told(".exr"), _inspected)] if importlib.util.find_spec("OpenEXR") else ()),
    *(
        [
            Reader(f"signed {suffix[1:]}", suffix, _told(suffix, frames=n, signed=True), _inspected)
            for suffix, n in _SIGNED
        ]
        if importlib.util.find_spec("c2pa")
        else ()
    ),
)


def by_name(name: str) -> Reader:
    """Raises KeyError."""
    return {reader.name: reader for reader in READERS}[name]


def cases(count: int, seed: int) -> Iterator[tuple[Reader, int]]:
    """So many (reader, seed of the harm), every reader in turn."""
    for k in range(count):
        yield READERS[k % len(READERS)], seed + k // len(READERS)

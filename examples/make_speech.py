"""Synthesize the driver's sentence with espeak-ng: the audio and the start time of each phoneme.

    python examples/make_speech.py speech.wav

The script writes speech.wav and, beside itself, driver_speech.csv, which make_driver.py uses to move the lips. The
table has the columns `seconds` and `phoneme` (IPA; empty for silence). Requires the espeak-ng library
(Debian: libespeak-ng1).
"""

import argparse
import csv
import ctypes
import wave
from pathlib import Path

TEXT = "I am just a photo. Mimaface makes me move and speak: no camera was there."
VOICE, WORDS_PER_MINUTE, PITCH = "en-us+f3", 160, 42
SILENCE_BEFORE, SILENCE_AFTER = 0.40, 0.86  # seconds
PHONEME_TIMES = Path(__file__).with_name("driver_speech.csv")

# Constants of espeak-ng's speak_lib.h.
AUDIO_OUTPUT_SYNCHRONOUS = 2
INITIALIZE_PHONEME_EVENTS, INITIALIZE_PHONEME_IPA = 1, 2
RATE_PARAMETER, PITCH_PARAMETER = 1, 3
CHARACTERS_UTF8 = 1
EVENT_LIST_TERMINATED, EVENT_PHONEME = 0, 7


class Event(ctypes.Structure):
    """The structure espeak_EVENT. `name` is one member of its union; every member has eight bytes."""

    _fields_ = [
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),  # milliseconds
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("name", ctypes.c_char * 8),
    ]


def synthesize_speech(text: str) -> tuple[int, bytes, list[tuple[float, str]]]:
    """Synthesize a text.

    Args:
        text: English text.

    Returns:
        Sample rate in Hz; 16-bit mono samples; start in seconds and IPA (empty for silence) of each phoneme.

    Raises:
        SystemExit: If espeak-ng fails.
    """
    espeak = ctypes.CDLL("libespeak-ng.so.1")
    flags = INITIALIZE_PHONEME_EVENTS | INITIALIZE_PHONEME_IPA
    rate = espeak.espeak_Initialize(AUDIO_OUTPUT_SYNCHRONOUS, 0, None, flags)
    samples, phonemes = bytearray(), []

    @ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(Event))
    def receive(block, count, events):
        if block and count:
            samples.extend(ctypes.string_at(block, 2 * count))
        k = 0
        while events[k].type != EVENT_LIST_TERMINATED:
            if events[k].type == EVENT_PHONEME:
                phonemes.append((events[k].audio_position / 1000, events[k].name.decode()))
            k += 1
        return 0

    espeak.espeak_SetSynthCallback(receive)
    espeak.espeak_SetVoiceByName(VOICE.encode())
    espeak.espeak_SetParameter(RATE_PARAMETER, WORDS_PER_MINUTE, 0)
    espeak.espeak_SetParameter(PITCH_PARAMETER, PITCH, 0)
    data = text.encode()
    if rate <= 0 or espeak.espeak_Synth(data, len(data) + 1, 0, 1, 0, CHARACTERS_UTF8, None, None) != 0:
        raise SystemExit("espeak-ng: synthesis failed. Install its data (Debian: espeak-ng-data).")
    return rate, bytes(samples), phonemes


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Synthesize the driver's sentence with espeak-ng.")
    parser.add_argument("wav", type=Path, help="audio file to write")
    arguments = parser.parse_args()
    rate, samples, phonemes = synthesize_speech(TEXT)
    with wave.open(str(arguments.wav), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(bytes(2 * round(SILENCE_BEFORE * rate)) + samples + bytes(2 * round(SILENCE_AFTER * rate)))
    with PHONEME_TIMES.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(("seconds", "phoneme"))
        table.writerows((f"{SILENCE_BEFORE + seconds:.3f}", phoneme) for seconds, phoneme in phonemes)


if __name__ == "__main__":
    main()

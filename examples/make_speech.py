"""Speak the driver's sentence with espeak-ng: the sound, and when each phoneme begins.

    python examples/make_speech.py speech.wav

writes speech.wav and, beside this script, driver_speech.csv (two columns: seconds, phoneme in IPA, empty for silence),
from which make_driver.py moves the lips. Needs the espeak-ng library (Debian: libespeak-ng1).
"""

import argparse
import csv
import ctypes
import wave
from pathlib import Path

TEXT = "I am just a photo. Mimaface makes me move and speak: no camera was there."
VOICE, WORDS_A_MINUTE, PITCH = "en-us+f3", 160, 42
LEAD, TAIL = 0.40, 0.86  # seconds of silence before and after
TIMINGS = Path(__file__).with_name("driver_speech.csv")

# From espeak-ng's speak_lib.h.
SYNCHRONOUS, PHONEME_EVENTS_IN_IPA, RATE, PITCH_PARAMETER, UTF8 = 2, 1 | 2, 1, 3, 1
LIST_END, PHONEME = 0, 7


class Event(ctypes.Structure):
    """espeak_EVENT; `name` is one arm of its union, eight bytes whichever is meant."""

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


def speak(text: str) -> tuple[int, bytes, list[tuple[float, str]]]:
    """Sample rate, 16-bit mono samples, and the phonemes as (seconds, IPA; empty for silence)."""
    espeak = ctypes.CDLL("libespeak-ng.so.1")
    rate = espeak.espeak_Initialize(SYNCHRONOUS, 0, None, PHONEME_EVENTS_IN_IPA)
    samples, phonemes = bytearray(), []

    @ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(Event))
    def receive(block, count, events):
        if block and count:
            samples.extend(ctypes.string_at(block, 2 * count))
        at = 0
        while events[at].type != LIST_END:
            if events[at].type == PHONEME:
                phonemes.append((events[at].audio_position / 1000, events[at].name.decode()))
            at += 1
        return 0

    espeak.espeak_SetSynthCallback(receive)
    espeak.espeak_SetVoiceByName(VOICE.encode())
    espeak.espeak_SetParameter(RATE, WORDS_A_MINUTE, 0)
    espeak.espeak_SetParameter(PITCH_PARAMETER, PITCH, 0)
    data = text.encode()
    if rate <= 0 or espeak.espeak_Synth(data, len(data) + 1, 0, 1, 0, UTF8, None, None) != 0:
        raise SystemExit("espeak-ng cannot speak: is its data installed?")
    return rate, bytes(samples), phonemes


def main() -> None:
    parser = argparse.ArgumentParser(description="Speak the driver's sentence with espeak-ng.")
    parser.add_argument("wav", type=Path, help="sound file to write")
    arguments = parser.parse_args()
    rate, samples, phonemes = speak(TEXT)
    with wave.open(str(arguments.wav), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(bytes(2 * round(LEAD * rate)) + samples + bytes(2 * round(TAIL * rate)))
    with TIMINGS.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(("seconds", "phoneme"))
        table.writerows((f"{LEAD + seconds:.3f}", phoneme) for seconds, phoneme in phonemes)


if __name__ == "__main__":
    main()

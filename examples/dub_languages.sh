#!/usr/bin/env bash
set -euo pipefail

usage() {
    cat <<'END'
Usage: dub_languages.sh VIDEO VOICES RESULTS [-- OPTIONS]

Dub one video into several languages: once for each audio file of a folder.

  VIDEO     video of the speaker
  VOICES    folder of audio files (wav, flac, mp3, m4a, ogg, opus), such as
            de.wav and fr.wav
  RESULTS   folder of the results; created if it is missing. The result of
            de.wav is de with the suffix of VIDEO
  OPTIONS   options of mimaface animate, such as --fit loop or --face left

Only the lower face changes. The motion of the video is extracted once.
Existing results are kept, so an interrupted run resumes with the same
command. If a language fails, the script continues with the next one.
Exit codes: 0 all results exist, 1 some languages failed, 2 wrong usage.

Example:

  dub_languages.sh talk.mov voices results -- --codec prores
END
}

exit_usage_error() {
    printf 'dub_languages.sh: %s\n' "$1" >&2
    exit 2
}

case ${1-} in -h | --help) usage; exit 0 ;; esac
[ $# -ge 3 ] || { usage >&2; exit 2; }
video=$1 voices=$2 results=$3
shift 3
if [ $# -gt 0 ]; then
    [ "$1" = -- ] || exit_usage_error "$1: not expected here. Put options of mimaface animate after --."
    shift
fi

# Keep mimaface from reading a name that starts with a dash as an option.
case $video in -*) video=./$video ;; esac
case $voices in -*) voices=./$voices ;; esac
case $results in -*) results=./$results ;; esac
[ -f "$video" ] || exit_usage_error "$video: the file does not exist. Check the path."
[ -d "$voices" ] || exit_usage_error "$voices: the folder does not exist. Check the path."
command -v mimaface >/dev/null || exit_usage_error "mimaface: not found. Install it or activate its environment."
mkdir -p -- "$results"

shopt -s nullglob nocaseglob
voice_files=("$voices"/*.{wav,flac,mp3,m4a,ogg,opus})
[ ${#voice_files[@]} -gt 0 ] || exit_usage_error "$voices: the folder contains no audio. Supported types: see --help."

trap 'exit 130' INT

suffix=${video##*.} rendered=0 skipped=0 failed=() result_names=/
for voice in "${voice_files[@]}"; do
    name=${voice##*/}
    result=$results/${name%.*}.$suffix
    if [[ $result_names == *"/${name%.*}/"* ]]; then
        printf '%s: another audio file with this name and another suffix has the same result. Rename one.\n' "$voice" >&2
        failed+=("$name")
        continue
    fi
    result_names+=${name%.*}/
    if [ -e "$result" ]; then
        skipped=$((skipped + 1))
    elif mimaface animate "$video" "$voice" -o "$result" --region lips "$@"; then
        rendered=$((rendered + 1))
    else
        failed+=("$name")
    fi
done

printf '%d rendered, %d existed, %d failed\n' "$rendered" "$skipped" "${#failed[@]}"
if [ ${#failed[@]} -gt 0 ]; then
    printf 'failed: %s\n' "${failed[@]}" >&2
    exit 1
fi

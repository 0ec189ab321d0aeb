#!/usr/bin/env bash
set -euo pipefail

usage() {
    cat <<'END'
Usage: preextract.sh CLIPS [-o TRACKS] [-- OPTIONS]

Extract the motion of every clip in a folder, so that mimaface animate starts
at once when one of them is the driver.

  CLIPS       folder of videos (mp4, mov, m4v, mkv, webm, avi, mpg, mpeg, ts)
  -o TRACKS   also write the tracks into this folder; created if it is missing.
              The track of talk.mp4 is talk.npz. Existing tracks are kept
  OPTIONS     options of mimaface extract, such as --face left

The motion is always cached; a clip that is cached already takes no time. If a
clip fails, the script continues with the next one.
Exit codes: 0 all clips are extracted, 1 some clips failed, 2 wrong usage.

Example:

  preextract.sh clips -o tracks
END
}

exit_usage_error() {
    printf 'preextract.sh: %s\n' "$1" >&2
    exit 2
}

case ${1-} in -h | --help) usage; exit 0 ;; esac
[ $# -ge 1 ] || { usage >&2; exit 2; }
clips=$1 tracks=
shift
if [ "${1-}" = -o ]; then
    [ -n "${2-}" ] || exit_usage_error "-o: the folder is missing. Use -o TRACKS."
    tracks=$2
    shift 2
fi
if [ $# -gt 0 ]; then
    [ "$1" = -- ] || exit_usage_error "$1: not expected here. Put options of mimaface extract after --."
    shift
fi

# Keep mimaface from reading a name that starts with a dash as an option.
case $clips in -*) clips=./$clips ;; esac
case $tracks in -*) tracks=./$tracks ;; esac
[ -d "$clips" ] || exit_usage_error "$clips: the folder does not exist. Check the path."
command -v mimaface >/dev/null || exit_usage_error "mimaface: not found. Install it or activate its environment."
[ -z "$tracks" ] || mkdir -p -- "$tracks"

shopt -s nullglob nocaseglob
clip_files=("$clips"/*.{mp4,mov,m4v,mkv,webm,avi,mpg,mpeg,ts})
[ ${#clip_files[@]} -gt 0 ] || exit_usage_error "$clips: the folder contains no videos. Supported types: see --help."

trap 'exit 130' INT

extracted=0 skipped=0 failed=() track_names=/
for clip in "${clip_files[@]}"; do
    name=${clip##*/}
    if [ -z "$tracks" ]; then
        output_options=()
    elif [[ $track_names == *"/${name%.*}/"* ]]; then
        printf '%s: another clip with this name and another suffix has the same track. Rename one.\n' "$clip" >&2
        failed+=("$name")
        continue
    elif [ -e "$tracks/${name%.*}.npz" ]; then
        track_names+=${name%.*}/
        skipped=$((skipped + 1))
        continue
    else
        track_names+=${name%.*}/
        output_options=(-o "$tracks/${name%.*}.npz")
    fi
    if mimaface extract "$clip" ${output_options[@]+"${output_options[@]}"} "$@"; then
        extracted=$((extracted + 1))
    else
        failed+=("$name")
    fi
done

printf '%d extracted, %d existed, %d failed\n' "$extracted" "$skipped" "${#failed[@]}"
if [ ${#failed[@]} -gt 0 ]; then
    printf 'failed: %s\n' "${failed[@]}" >&2
    exit 1
fi

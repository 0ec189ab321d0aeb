#!/usr/bin/env bash
set -euo pipefail

usage() {
    cat <<'END'
Usage: preextract.sh CLIPS [-o TRACKS] [-- OPTIONS]

Read every clip of a folder ahead of time, so that mimaface animate starts at
once when one of them is the driver.

  CLIPS       folder of videos (mp4, mov, m4v, mkv, webm, avi, mpg, mpeg, ts)
  -o TRACKS   also write the tracks into this folder, made if need be:
              talk.mp4 becomes talk.npz; one that exists is left alone
  OPTIONS     handed to mimaface extract as they are, such as --face left

Tracks go into the cache in any case; a clip that is there already costs no
time. A clip that fails does not keep the others from being read.
Exit code: 0 all there, 1 some failed, 2 wrong use.

Example:

  preextract.sh clips -o tracks
END
}

refuse() {
    printf 'preextract.sh: %s\n' "$1" >&2
    exit 2
}

case ${1-} in -h | --help) usage; exit 0 ;; esac
[ $# -ge 1 ] || { usage >&2; exit 2; }
clips=$1 tracks=
shift
if [ "${1-}" = -o ]; then
    [ -n "${2-}" ] || refuse "-o: name the folder for the tracks"
    tracks=$2
    shift 2
fi
if [ $# -gt 0 ]; then
    [ "$1" = -- ] || refuse "$1: options for mimaface extract go after --"
    shift
fi

# A name that starts with a dash is still a name.
case $clips in -*) clips=./$clips ;; esac
case $tracks in -*) tracks=./$tracks ;; esac
[ -d "$clips" ] || refuse "$clips: no such folder"
command -v mimaface >/dev/null || refuse "mimaface is not installed, or its environment is not active"
[ -z "$tracks" ] || mkdir -p -- "$tracks"

shopt -s nullglob nocaseglob
found=("$clips"/*.{mp4,mov,m4v,mkv,webm,avi,mpg,mpeg,ts})
[ ${#found[@]} -gt 0 ] || refuse "$clips: holds no videos"

trap 'exit 130' INT

made=0 skipped=0 failed=() taken=/
for clip in "${found[@]}"; do
    name=${clip##*/}
    if [ -z "$tracks" ]; then
        set_output=()
    elif [[ $taken == *"/${name%.*}/"* ]]; then
        printf '%s: another clip of that name, with another suffix, has the track; rename one\n' "$clip" >&2
        failed+=("$name")
        continue
    elif [ -e "$tracks/${name%.*}.npz" ]; then
        taken+=${name%.*}/
        skipped=$((skipped + 1))
        continue
    else
        taken+=${name%.*}/
        set_output=(-o "$tracks/${name%.*}.npz")
    fi
    if mimaface extract "$clip" ${set_output[@]+"${set_output[@]}"} "$@"; then
        made=$((made + 1))
    else
        failed+=("$name")
    fi
done

printf '%d read, %d there already, %d failed\n' "$made" "$skipped" "${#failed[@]}"
if [ ${#failed[@]} -gt 0 ]; then
    printf 'failed: %s\n' "${failed[@]}" >&2
    exit 1
fi

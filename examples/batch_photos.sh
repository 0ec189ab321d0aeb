#!/usr/bin/env bash
set -euo pipefail

usage() {
    cat <<'END'
Usage: batch_photos.sh PHOTOS DRIVER RESULTS [-- OPTIONS]

Make every photo of a folder move like one driver.

  PHOTOS    folder of photos (jpg, jpeg, png, webp, bmp, tif, tiff)
  DRIVER    video, or track (.npz) from mimaface extract
  RESULTS   folder for the results, made if need be: me.jpg becomes me.mp4
  OPTIONS   handed to mimaface animate as they are, such as --strength 1.2

The driver is read once. A result that exists is left alone, so that a run that
was stopped goes on where it was; remove a result to have it made anew. A photo
that fails does not keep the others from being made.
Exit code: 0 all there, 1 some failed, 2 wrong use.

Example:

  batch_photos.sh photos talk.mp4 results -- --region lips
END
}

refuse() {
    printf 'batch_photos.sh: %s\n' "$1" >&2
    exit 2
}

case ${1-} in -h | --help) usage; exit 0 ;; esac
[ $# -ge 3 ] || { usage >&2; exit 2; }
photos=$1 driver=$2 results=$3
shift 3
if [ $# -gt 0 ]; then
    [ "$1" = -- ] || refuse "$1: options for mimaface animate go after --"
    shift
fi

# A name that starts with a dash is still a name.
case $photos in -*) photos=./$photos ;; esac
case $driver in -*) driver=./$driver ;; esac
case $results in -*) results=./$results ;; esac
[ -d "$photos" ] || refuse "$photos: no such folder"
[ -e "$driver" ] || refuse "$driver: no such file"
command -v mimaface >/dev/null || refuse "mimaface is not installed, or its environment is not active"
mkdir -p -- "$results"

shopt -s nullglob nocaseglob
found=("$photos"/*.{jpg,jpeg,png,webp,bmp,tif,tiff})
[ ${#found[@]} -gt 0 ] || refuse "$photos: holds no photos"

trap 'exit 130' INT

# Into the cache, where animate finds it; a track needs no reading.
case $driver in
    *.npz) ;;
    *) mimaface extract "$driver" ;;
esac

made=0 skipped=0 failed=() taken=/
for photo in "${found[@]}"; do
    name=${photo##*/}
    result=$results/${name%.*}.mp4
    if [[ $taken == *"/${name%.*}/"* ]]; then
        printf '%s: another photo of that name, with another suffix, has the result; rename one\n' "$photo" >&2
        failed+=("$name")
        continue
    fi
    taken+=${name%.*}/
    if [ -e "$result" ]; then
        skipped=$((skipped + 1))
    elif mimaface animate "$photo" "$driver" -o "$result" "$@"; then
        made=$((made + 1))
    else
        failed+=("$name")
    fi
done

printf '%d made, %d there already, %d failed\n' "$made" "$skipped" "${#failed[@]}"
if [ ${#failed[@]} -gt 0 ]; then
    printf 'failed: %s\n' "${failed[@]}" >&2
    exit 1
fi

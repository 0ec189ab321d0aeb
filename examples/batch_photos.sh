#!/usr/bin/env bash
set -euo pipefail

usage() {
    cat <<'END'
Usage: batch_photos.sh PHOTOS DRIVER RESULTS [-- OPTIONS]

Animate every photo of a folder with one driver.

  PHOTOS    folder of photos (jpg, jpeg, png, webp, bmp, tif, tiff)
  DRIVER    video, or track (.npz) from mimaface extract
  RESULTS   folder of the results; created if it is missing. The result of
            me.jpg is me.mp4
  OPTIONS   options of mimaface animate, such as --strength 1.2

The motion of the driver is extracted once. Existing results are kept, so an
interrupted run resumes with the same command; delete a result to render it
again. If a photo fails, the script continues with the next one.
Exit codes: 0 all results exist, 1 some photos failed, 2 wrong usage.

Example:

  batch_photos.sh photos talk.mp4 results -- --region lips
END
}

exit_usage_error() {
    printf 'batch_photos.sh: %s\n' "$1" >&2
    exit 2
}

case ${1-} in -h | --help) usage; exit 0 ;; esac
[ $# -ge 3 ] || { usage >&2; exit 2; }
photos=$1 driver=$2 results=$3
shift 3
if [ $# -gt 0 ]; then
    [ "$1" = -- ] || exit_usage_error "$1: not expected here. Put options of mimaface animate after --."
    shift
fi

# Keep mimaface from reading a name that starts with a dash as an option.
case $photos in -*) photos=./$photos ;; esac
case $driver in -*) driver=./$driver ;; esac
case $results in -*) results=./$results ;; esac
[ -d "$photos" ] || exit_usage_error "$photos: the folder does not exist. Check the path."
[ -e "$driver" ] || exit_usage_error "$driver: the file does not exist. Check the path."
command -v mimaface >/dev/null || exit_usage_error "mimaface: not found. Install it or activate its environment."
mkdir -p -- "$results"

shopt -s nullglob nocaseglob
photo_files=("$photos"/*.{jpg,jpeg,png,webp,bmp,tif,tiff})
[ ${#photo_files[@]} -gt 0 ] || exit_usage_error "$photos: the folder contains no photos. Supported types: see --help."

trap 'exit 130' INT

# Fill the cache, which animate uses. A track needs no extraction.
case $driver in
    *.npz) ;;
    *) mimaface extract "$driver" ;;
esac

rendered=0 skipped=0 failed=() result_names=/
for photo in "${photo_files[@]}"; do
    name=${photo##*/}
    result=$results/${name%.*}.mp4
    if [[ $result_names == *"/${name%.*}/"* ]]; then
        printf '%s: another photo with this name and another suffix has the same result. Rename one.\n' "$photo" >&2
        failed+=("$name")
        continue
    fi
    result_names+=${name%.*}/
    if [ -e "$result" ]; then
        skipped=$((skipped + 1))
    elif mimaface animate "$photo" "$driver" -o "$result" "$@"; then
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

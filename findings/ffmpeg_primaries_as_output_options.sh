#!/usr/bin/env bash
# ffmpeg takes -colorspace as an option of the output, and drops -color_primaries and -color_trc beside it.
#
# One expects that the three options tag the encoded video alike, as they did for years and as most recipes for HDR give
# them. Seen with the ffmpeg of imageio-ffmpeg 0.8.1 (9.0.2), on x86-64 Linux, with x264, x265 and FFV1, in MP4 and
# Matroska: the matrix is written, primaries and transfer are "unknown", and nothing is said, even with `-v verbose`.
# The ffmpeg of 0.6.0 (7.0.2) writes all three. The filter setparams tags all three with both.
# So HDR that is made by such a recipe is shown as SDR, washed out; tag the frames with setparams instead.
set -euo pipefail
folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT
failed=0
for version in 0.6.0 0.8.1; do
    python3 -m venv "$folder/$version"
    "$folder/$version/bin/pip" install --quiet --disable-pip-version-check "imageio-ffmpeg==$version"
    ffmpeg=$("$folder/$version/bin/python" -c 'import imageio_ffmpeg; print(imageio_ffmpeg.get_ffmpeg_exe())')
    tags() { # tags ENCODER SUFFIX OPTION... : matrix/primaries/transfer of a short video made with these options
        local encoder=$1 file=$folder/out.$2
        shift 2
        "$ffmpeg" -v error -y -f lavfi -i testsrc2=size=64x48:rate=25:duration=0.2 "$@" -c:v "$encoder" "$file" \
            2>/dev/null
        { "$ffmpeg" -hide_banner -i "$file" 2>&1 || true; } | grep -o 'yuv420p10le([^)]*)' | grep -o 'bt2020nc[^,)]*'
    }
    for made in "libx265 mp4" "libx264 mp4" "ffv1 mkv"; do
        # shellcheck disable=SC2086
        options=$(tags $made -pix_fmt yuv420p10le -colorspace bt2020nc -color_primaries bt2020 -color_trc smpte2084)
        # shellcheck disable=SC2086
        filter=$(tags $made -vf format=yuv420p10le,setparams=colorspace=bt2020nc:color_primaries=bt2020:color_trc=smpte2084)
        echo "imageio-ffmpeg $version, $made: options $options, setparams $filter"
        expected=bt2020nc/unknown/unknown && [ "$version" = 0.6.0 ] && expected=bt2020nc/bt2020/smpte2084
        [ "$options $filter" = "$expected bt2020nc/bt2020/smpte2084" ] || failed=1
    done
done
[ "$failed" = 0 ] || { echo "this has changed" >&2; exit 1; }

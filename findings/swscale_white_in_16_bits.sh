#!/usr/bin/env bash
# White video is not white in 16-bit or float RGB when ffmpeg's default scaler converts it.
#
# One expects that white (luma 235 of 8-bit limited range) becomes 65535 in 16-bit RGB, as it becomes 255 in 8-bit RGB.
# Seen with the ffmpeg of imageio-ffmpeg 0.6.0 (7.0.2) and of 0.8.1 (9.0.2), on x86-64 Linux:
#   rgb24 255, but rgb48le 65283 whatever the flags of the scaler, and gbrpf32le 0.99615 in place of 1;
#   gray16le 65277 with 7.0.2, and 65535 with 9.0.2. The filter zscale gives 65535 for the same frame.
# So whoever reads video in 16-bit RGB through swscale has whites 0.4 % too dark, and a test for "pure white" fails.
set -euo pipefail
folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT
for version in 0.6.0 0.8.1; do
    python3 -m venv "$folder/$version"
    "$folder/$version/bin/pip" install --quiet --disable-pip-version-check "imageio-ffmpeg==$version"
    ffmpeg=$("$folder/$version/bin/python" -c 'import imageio_ffmpeg; print(imageio_ffmpeg.get_ffmpeg_exe())')
    pixel() { # pixel FORMAT OPTION... : the first number of a white frame in that format
        local format=$1 kind=$2
        shift 2
        "$ffmpeg" -v error -f lavfi -i color=white:s=8x8:d=0.04,format=yuv444p "$@" -pix_fmt "$format" -frames:v 1 \
            -f rawvideo - | od -An "-t$kind" -N4 | awk '{print $1}'
    }
    seen="$(pixel rgb24 u1) $(pixel gray16le u2) $(pixel rgb48le u2) $(pixel rgb48le u2 -sws_flags accurate_rnd+full_chroma_int)"
    seen="$seen $(pixel gbrpf32le f4)"
    zscale=$(pixel gbrp16le u2 -vf zscale=rangein=limited:range=full:matrixin=709:matrix=gbr,format=gbrp16le)
    echo "imageio-ffmpeg $version, $("$ffmpeg" -version | head -1 | cut -d' ' -f3): rgb24, gray16, rgb48 twice, float: $seen; zscale: $zscale"
    gray=65535 && [ "$version" = 0.6.0 ] && gray=65277
    if [ "$seen $zscale" != "255 $gray 65283 65283 0.9961547 65535" ]; then
        echo "this has changed" >&2
        exit 1
    fi
done

//! What comes out of proper images.

use image::codecs::jpeg::JpegEncoder;
use image::{DynamicImage, ImageEncoder, ImageFormat, Luma, LumaA, Rgba, RgbaImage};
use ocelli_media::{DecodeError, DecodeLimits, Place, decode, inspect};

use crate::drawing::{encode, four_colour_jpeg, one_of_each, picture, raw_tiff, tiff_of};

fn limits() -> DecodeLimits {
    DecodeLimits::default()
}

fn pixels(bytes: &[u8]) -> image::RgbImage {
    decode(bytes, &limits()).unwrap().remove(0).pixels
}

#[test]
fn every_format_decodes_to_the_size_that_its_header_told() {
    for (name, bytes) in one_of_each() {
        let told = inspect(&bytes, &limits()).unwrap();
        let pages = decode(&bytes, &limits()).unwrap();
        assert_eq!(pages[0].pixels.dimensions(), (told.width, told.height), "{name}");
        assert_eq!(pages.len() > 1, told.several_frames, "{name}");
        assert_eq!(Some(told.format.name()), name.split(' ').next(), "{name}");
    }
}

#[test]
fn lossless_formats_give_the_very_pixels() {
    let original = picture(40, 24);
    let image = DynamicImage::ImageRgb8(original.clone());
    for format in [ImageFormat::Png, ImageFormat::Bmp, ImageFormat::Pnm, ImageFormat::Tiff] {
        assert_eq!(pixels(&encode(&image, format)), original, "{format:?}");
    }
    let deep = DynamicImage::ImageRgb16(image.to_rgb16());
    for format in [ImageFormat::Png, ImageFormat::Tiff, ImageFormat::Pnm] {
        assert_eq!(pixels(&encode(&deep, format)), original, "16-bit {format:?}");
    }
    let float = DynamicImage::ImageRgb32F(image.to_rgb32f());
    assert_eq!(pixels(&encode(&float, ImageFormat::Tiff)), original);
    let webp = encode(&DynamicImage::ImageRgba8(image.to_rgba8()), ImageFormat::WebP);
    assert_eq!(pixels(&webp), original);
}

#[test]
fn exif_orientation_is_applied_to_pixels_and_sizes() {
    let original = picture(40, 24);
    for (orientation, corner) in [
        (1u8, (0, 0)),
        (2, (39, 0)),
        (3, (39, 23)),
        (4, (0, 23)),
        (5, (0, 0)),
        (6, (23, 0)),
        (7, (23, 39)),
        (8, (0, 39)),
    ] {
        let mut exif = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".to_vec();
        exif.extend([orientation, 0, 0, 0, 0, 0, 0]);
        let mut jpeg = Vec::new();
        let mut encoder = JpegEncoder::new_with_quality(&mut jpeg, 95);
        encoder.set_exif_metadata(exif).unwrap();
        encoder.encode_image(&original).unwrap();
        let upright = pixels(&jpeg);
        let told = inspect(&jpeg, &limits()).unwrap();
        assert_eq!(upright.dimensions(), (told.width, told.height), "{orientation}");
        let size = if orientation > 4 { (24, 40) } else { (40, 24) };
        assert_eq!(upright.dimensions(), size, "{orientation}");
        let dark = upright.get_pixel(corner.0, corner.1).0;
        assert!(dark.iter().all(|channel| *channel < 60), "{orientation}: {dark:?}");
    }
}

#[test]
fn transparency_is_flattened_on_the_ground_that_contrasts() {
    for (ink, ground) in [([255, 255, 255], 0), ([20, 20, 20], 255), ([200, 30, 30], 255)] {
        let letters = RgbaImage::from_fn(30, 10, |x, _| {
            if x % 6 < 2 { Rgba([ink[0], ink[1], ink[2], 255]) } else { Rgba([0, 0, 0, 0]) }
        });
        for format in [ImageFormat::Png, ImageFormat::WebP, ImageFormat::Gif, ImageFormat::Tiff] {
            let image = pixels(&encode(&DynamicImage::ImageRgba8(letters.clone()), format));
            assert_eq!(image.get_pixel(4, 4).0, [ground; 3], "{format:?} {ink:?}");
        }
    }
    let letters = image::ImageBuffer::from_fn(30, 10, |x, _| LumaA([255u8, (x % 2) as u8 * 255]));
    let image = pixels(&encode(&DynamicImage::ImageLumaA8(letters), ImageFormat::Png));
    assert_eq!(image.get_pixel(0, 0).0, [0; 3]);
}

#[test]
fn all_pages_of_a_tiff_are_decoded_in_order() {
    let pages = decode(&tiff_of(&[(8, 8), (16, 4), (5, 7)]), &limits()).unwrap();
    let sizes: Vec<_> = pages.iter().map(|page| page.pixels.dimensions()).collect();
    assert_eq!(sizes, [(8, 8), (16, 4), (5, 7)]);
    let shades: Vec<_> = pages.iter().map(|page| page.pixels.get_pixel(0, 0).0[0]).collect();
    assert_eq!(shades, [0, 10, 20]);
    assert_eq!(pages[2].place, Place::Page(2));
}

#[test]
fn more_pages_than_allowed_are_refused_by_the_settings_name() {
    let bytes = tiff_of(&[(2, 2); 4]);
    let error = decode(&bytes, &DecodeLimits { pages: 3, ..limits() }).unwrap_err();
    assert!(error.to_string().contains("limits.image_pages"), "{error}");
    assert_eq!(decode(&bytes, &DecodeLimits { pages: 4, ..limits() }).unwrap().len(), 4);
}

#[test]
fn palette_bilevel_and_planar_tiffs_are_decoded() {
    let long = |values: &[u32]| values.to_vec();
    let common = |bits: u32, photometric: u32| {
        vec![
            (256, 3, long(&[2])),
            (257, 3, long(&[2])),
            (258, 3, long(&[bits])),
            (259, 3, long(&[1])),
            (262, 3, long(&[photometric])),
        ]
    };
    // Four colours of a 2-bit palette: black, red, green, white.
    let mut palette = common(2, 3);
    palette.push((320, 3, long(&[0, 65_535, 0, 65_535, 0, 0, 65_535, 65_535, 0, 0, 0, 65_535])));
    let image = pixels(&raw_tiff(&palette, &[0b0001_0000, 0b1011_0000]));
    let colours: Vec<_> = image.pixels().map(|pixel| pixel.0).collect();
    assert_eq!(colours, [[0, 0, 0], [255, 0, 0], [0, 255, 0], [255, 255, 255]]);

    // White is zero.
    let image = pixels(&raw_tiff(&common(1, 0), &[0b0100_0000, 0b1000_0000]));
    let greys: Vec<_> = image.pixels().map(|pixel| pixel.0[0]).collect();
    assert_eq!(greys, [255, 0, 0, 255]);

    // Grey of 4 bits.
    let image = pixels(&raw_tiff(&common(4, 1), &[0x0f, 0x80]));
    let greys: Vec<_> = image.pixels().map(|pixel| pixel.0[0]).collect();
    assert_eq!(greys, [0, 255, 136, 0]);

    // CMYK: no ink, cyan, black, yellow.
    let mut cmyk = common(8, 5);
    cmyk[2].2 = long(&[8, 8, 8, 8]);
    cmyk.push((277, 3, long(&[4])));
    let strip = [0, 0, 0, 0, 255, 0, 0, 0, 0, 0, 0, 255, 0, 0, 255, 0];
    let image = pixels(&raw_tiff(&cmyk, &strip));
    let colours: Vec<_> = image.pixels().map(|pixel| pixel.0).collect();
    assert_eq!(colours, [[255, 255, 255], [0, 255, 255], [0, 0, 0], [255, 255, 0]]);

    // A mask after the page (bit 2 of the subfile type) would be a second directory; a first one is always the page.
    let mut reduced = common(8, 1);
    reduced.push((254, 4, long(&[1])));
    assert_eq!(pixels(&raw_tiff(&reduced, &[1, 2, 3, 4])).dimensions(), (2, 2));
}

#[test]
fn tiles_of_16_bit_samples_are_put_together() {
    // 20 x 10 pixels in two tiles of 16 x 16: black on the left, white from column 16 on.
    let tile = |value: u16| value.to_le_bytes().repeat(256);
    let tiles = [tile(0), tile(u16::MAX)].concat();
    let tags = [
        (256, 3, vec![20]),
        (257, 3, vec![10]),
        (258, 3, vec![16]),
        (259, 3, vec![1]),
        (262, 3, vec![1]),
        (277, 3, vec![1]),
        (322, 3, vec![16]),
        (323, 3, vec![16]),
        (324, 4, vec![8, 520]),
        (325, 4, vec![512, 512]),
    ];
    let image = pixels(&raw_tiff(&tags, &tiles));
    assert_eq!(image.dimensions(), (20, 10));
    let row: Vec<u8> = (0..20).map(|x| image.get_pixel(x, 9).0[0]).collect();
    assert_eq!(row, [[0; 16].as_slice(), &[255; 4]].concat());
}

#[test]
fn a_jpeg_cut_off_within_its_pixels_gives_what_is_there_and_a_png_does_not() {
    let original = DynamicImage::ImageRgb8(picture(160, 120));
    let jpeg = encode(&original, ImageFormat::Jpeg);
    let image = pixels(&jpeg[..jpeg.len() * 3 / 4]);
    assert_eq!(image.dimensions(), (160, 120));
    assert!(decode(&jpeg[..30], &limits()).is_err());
    for format in [ImageFormat::Png, ImageFormat::WebP, ImageFormat::Tiff, ImageFormat::Pnm] {
        let bytes = encode(&original, format);
        let error = decode(&bytes[..bytes.len() / 2], &limits()).unwrap_err();
        assert!(
            matches!(error, DecodeError::Truncated { .. } | DecodeError::Broken { .. }),
            "{format:?}: {error}"
        );
    }
}

#[test]
fn the_first_frame_of_an_animation_is_what_is_read() {
    let mut bytes = Vec::new();
    let mut encoder = image::codecs::gif::GifEncoder::new(&mut bytes);
    encoder.set_repeat(image::codecs::gif::Repeat::Infinite).unwrap();
    for shade in [10, 200] {
        let frame = RgbaImage::from_pixel(6, 6, Rgba([shade, shade, shade, 255]));
        encoder.encode_frame(image::Frame::new(frame)).unwrap();
    }
    drop(encoder);
    assert!(inspect(&bytes, &limits()).unwrap().several_frames);
    assert_eq!(pixels(&bytes).get_pixel(3, 3).0, [10; 3]);
}

#[test]
fn each_limit_refuses_with_its_own_setting() {
    let png = encode(
        &DynamicImage::ImageLuma8(image::GrayImage::from_pixel(300, 20, Luma([9]))),
        ImageFormat::Png,
    );
    let refusal = |limits: DecodeLimits| {
        let error = decode(&png, &limits).unwrap_err();
        assert_eq!(inspect(&png, &limits).unwrap_err(), error, "the header is enough");
        assert!(matches!(error, DecodeError::TooLarge { .. }), "{error}");
        error.to_string()
    };
    let size = png.len() as u64;
    assert!(refusal(DecodeLimits { bytes: size - 1, ..limits() }).contains("limits.image_bytes"));
    assert!(refusal(DecodeLimits { side: 299, ..limits() }).contains("limits.image_side"));
    assert!(refusal(DecodeLimits { pixels: 5999, ..limits() }).contains("limits.image_pixels"));
    assert!(refusal(DecodeLimits { memory: 9000, ..limits() }).contains("limits.decode_memory"));
    let enough = DecodeLimits { bytes: size, side: 300, pixels: 6000, pages: 1, memory: 100_000 };
    assert_eq!(decode(&png, &enough).unwrap().len(), 1);
}

#[test]
fn formats_without_a_decoder_are_named_with_the_way_out() {
    for (bytes, name) in [
        (b"\0\0\0\x18ftypavif\0\0\0\0mif1avif".as_slice(), "AVIF"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
    ] {
        let error = decode(bytes, &limits()).unwrap_err();
        assert!(matches!(error, DecodeError::Unsupported { .. }));
        let text = error.to_string();
        assert!(text.contains(name) && text.contains("convert it to PNG or JPEG"), "{text}");
    }
}

#[test]
fn every_refusal_says_what_is_wrong_and_what_to_do() {
    let png = encode(&DynamicImage::ImageRgb8(picture(160, 120)), ImageFormat::Png);
    let refused = |bytes: &[u8]| decode(bytes, &limits()).unwrap_err();
    assert_eq!(refused(b""), DecodeError::Empty);
    let panicked = DecodeError::Panicked {
        format: ocelli_core::ImageFormat::Webp,
        reason: "index out of bounds".to_owned(),
    };
    for (error, wrong, to_do) in [
        (refused(b""), "empty (0 bytes)", "download it again"),
        (refused(b"<!doctype html><html>404"), "a web page (HTML)", "name the image itself"),
        (refused(b"%PDF-1.7"), "a PDF document", "convert it to PNG or JPEG"),
        (refused(&png[..png.len() / 2]), "PNG: ", "download it again"),
        (refused(b"P5 0 7 255\n"), "broken PNM", "save it anew"),
        (panicked, "broken WebP: the decoder gave up", "save it anew"),
        (refused(b"P6 99999999 99999999 255\n"), "the limit is", "setting limits.image_side"),
    ] {
        let text = error.to_string();
        assert!(text.contains(wrong) && text.contains(to_do), "{text}");
        assert!(text.chars().count() < 200, "{text}");
    }
}

#[test]
fn four_colour_jpegs_have_the_colours_of_their_inks() {
    // Adobe stores inks inverted: 255 is none. Red is magenta and yellow.
    for (components, transform, expected) in [
        ([255, 0, 0, 255], 0, [255, 0, 0]),
        ([255, 255, 255, 255], 0, [255, 255, 255]),
        ([255, 255, 255, 0], 0, [0, 0, 0]),
        // The same red: cyan, which is its complement, as luma and chroma.
        ([179, 171, 0, 255], 2, [255, 0, 0]),
        ([0, 128, 128, 255], 2, [255, 255, 255]),
        ([0, 128, 128, 0], 2, [0, 0, 0]),
    ] {
        let got = pixels(&four_colour_jpeg(components, transform)).get_pixel(3, 3).0;
        let near = got.iter().zip(expected).all(|(got, wanted)| got.abs_diff(wanted) <= 3);
        assert!(near, "{components:?} {transform}: {got:?}");
    }
}

#[test]
fn a_png_that_lacks_only_its_last_chunk_is_read() {
    let original = picture(40, 24);
    let bytes = encode(&DynamicImage::ImageRgb8(original.clone()), ImageFormat::Png);
    assert_eq!(pixels(&bytes[..bytes.len() - 12]), original);
    assert_eq!(pixels(&bytes[..bytes.len() - 5]), original);
    assert!(decode(&bytes[..bytes.len() - 40], &limits()).is_err());
}

#[test]
fn thumbnails_within_a_tiff_are_not_pages() {
    use tiff::encoder::{TiffEncoder, colortype::Gray8};
    use tiff::tags::Tag;
    let mut bytes = std::io::Cursor::new(Vec::new());
    let mut encoder = TiffEncoder::new(&mut bytes).unwrap();
    for kind in [0u32, 1, 0, 4, 0] {
        let mut image = encoder.new_image::<Gray8>(4, 4).unwrap();
        image.encoder().write_tag(Tag::NewSubfileType, kind).unwrap();
        image.write_data(&[7; 16]).unwrap();
    }
    let three = DecodeLimits { pages: 3, ..limits() };
    assert_eq!(decode(bytes.get_ref(), &three).unwrap().len(), 3);
}

//! SVG source to pixels, with the fonts of this machine.

use image::RgbaImage;
use resvg::tiny_skia::{Pixmap, Transform};
use resvg::usvg::{Options, Tree};

use crate::random::Random;
use crate::{DrawError, Scene};

/// Fonts are looked up once for all scenes.
pub(crate) struct Renderer {
    options: Options<'static>,
}

impl Renderer {
    pub(crate) fn new() -> Result<Self, DrawError> {
        let mut options = Options::default();
        options.fontdb_mut().load_system_fonts();
        let has = |name: &str| {
            options
                .fontdb
                .faces()
                .any(|face| face.families.iter().any(|(family, _)| family == name))
        };
        let base = ["DejaVu Sans", "Liberation Sans"].into_iter().find(|name| has(name));
        options.font_family = base.ok_or(DrawError::NoFonts)?.to_owned();
        Ok(Self { options })
    }

    pub(crate) fn render(&self, scene: &Scene) -> Result<RgbaImage, String> {
        let tree = Tree::from_str(&scene.svg, &self.options).map_err(|error| error.to_string())?;
        let size = tree.size().to_int_size();
        let mut pixels =
            Pixmap::new(size.width(), size.height()).ok_or("a scene without a size")?;
        resvg::render(&tree, Transform::default(), &mut pixels.as_mut());
        let mut picture =
            RgbaImage::from_raw(size.width(), size.height(), pixels.take_demultiplied())
                .ok_or("a pixmap of another size than asked")?;
        if scene.grain > 0 {
            roughen(&mut picture, scene.grain);
        }
        Ok(picture)
    }
}

/// Sensor noise: the same for the three colours of a pixel, and the stronger the nearer to the middle of four draws.
fn roughen(picture: &mut RgbaImage, grain: u8) {
    let mut random = Random::new(u64::from(grain));
    for pixel in picture.pixels_mut() {
        let draws = random.next().to_le_bytes();
        let sum: i32 = draws[..4].iter().map(|draw| i32::from(*draw)).sum();
        let noise = (sum - 510) * i32::from(grain) / 256;
        for channel in &mut pixel.0[..3] {
            *channel = u8::try_from((i32::from(*channel) + noise).clamp(0, 255)).unwrap_or(u8::MAX);
        }
    }
}

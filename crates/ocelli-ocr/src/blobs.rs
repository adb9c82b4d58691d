//! Connected components of pixels brighter or darker than a level, with how clearly each stands out.

use crate::raster::Raster;

/// Which pixels belong to blobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ink {
    /// At least this luma.
    Bright(u8),
    /// At most this luma.
    Dark(u8),
}

/// Pixels `from..to` of row `y`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run {
    pub y: u32,
    pub from: u32,
    pub to: u32,
}

/// One connected component (8 neighbours).
#[derive(Debug, Clone)]
pub(crate) struct Blob {
    pub left: u32,
    pub top: u32,
    pub right: u32,
    pub bottom: u32,
    pub area: u32,
    /// Run ends beyond which the pixels differ clearly, and all run ends.
    pub edges_clear: u32,
    pub edges: u32,
    /// Its runs: a range of [`Blobs::runs`].
    pub runs: (usize, usize),
}

impl Blob {
    pub(crate) fn width(&self) -> u32 {
        self.right - self.left
    }
    pub(crate) fn height(&self) -> u32 {
        self.bottom - self.top
    }
    /// Share of its sides beyond which the picture looks clearly different.
    pub(crate) fn clarity(&self) -> f32 {
        self.edges_clear as f32 / self.edges.max(1) as f32
    }
}

/// All blobs of one ink.
#[derive(Debug)]
pub(crate) struct Blobs {
    pub all: Vec<Blob>,
    runs: Vec<Run>,
}

impl Blobs {
    pub(crate) fn runs(&self, blob: &Blob) -> &[Run] {
        &self.runs[blob.runs.0..blob.runs.1]
    }
}

/// Luma difference that counts as a clear edge.
const CLEAR: u8 = 60;

/// Finds the blobs of a grey raster. `None` when there are more runs than text would make (noise).
pub(crate) fn find(grey: &Raster, ink: Ink) -> Option<Blobs> {
    let most_runs = grey.data.len() / 6 + 1_000;
    let scan = Scan::of(ink);
    let mut runs: Vec<Run> = Vec::new();
    let mut parent: Vec<u32> = Vec::new();
    let mut previous = 0..0;
    for (y, row) in grey.data.chunks_exact(grey.width).enumerate() {
        let start = runs.len();
        let mut above = previous.start;
        let mut x = 0;
        while let Some(from) = scan.next(row, x, true) {
            x = scan.next(row, from, false).unwrap_or(row.len());
            let own = runs.len() as u32;
            runs.push(Run { y: y as u32, from: from as u32, to: x as u32 });
            parent.push(own);
            while above < previous.end && (runs[above].to as usize) < from {
                above += 1;
            }
            let mut touching = above;
            while touching < previous.end && runs[touching].from as usize <= x {
                union(&mut parent, own, touching as u32);
                touching += 1;
            }
        }
        if runs.len() > most_runs {
            return None;
        }
        previous = start..runs.len();
    }
    Some(collect(grey, &runs, &mut parent))
}

/// Pixels that are looked at together: most rows are long stretches of ink or of none.
const STRETCH: usize = 32;

/// A test of pixels that needs no branch: both inks are values from a level on, dark ones of the negative.
#[derive(Clone, Copy)]
struct Scan {
    negative: u8,
    level: u8,
}

impl Scan {
    const fn of(ink: Ink) -> Self {
        match ink {
            Ink::Bright(level) => Self { negative: 0, level },
            Ink::Dark(level) => Self { negative: u8::MAX, level: u8::MAX - level },
        }
    }

    const fn holds(self, value: u8) -> bool {
        value ^ self.negative >= self.level
    }

    /// The first pixel from `from` on that is ink, or is none.
    fn next(self, row: &[u8], from: usize, ink: bool) -> Option<usize> {
        let mut at = from;
        for stretch in row[from..].chunks_exact(STRETCH) {
            let others = stretch.iter().fold(false, |any, value| any | (self.holds(*value) == ink));
            if others {
                break;
            }
            at += STRETCH;
        }
        row[at..].iter().position(|value| self.holds(*value) == ink).map(|more| at + more)
    }
}

fn collect(grey: &Raster, runs: &[Run], parent: &mut [u32]) -> Blobs {
    let roots: Vec<u32> = (0..runs.len() as u32).map(|run| root(parent, run)).collect();
    let mut counts = vec![0_usize; runs.len()];
    for &root in &roots {
        counts[root as usize] += 1;
    }
    let mut all: Vec<Blob> = Vec::new();
    let mut index = vec![u32::MAX; runs.len()];
    let mut filled = 0;
    for (root, &count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
        index[root] = all.len() as u32;
        let runs = (filled, filled);
        filled += count;
        all.push(Blob {
            left: u32::MAX,
            top: u32::MAX,
            right: 0,
            bottom: 0,
            area: 0,
            edges_clear: 0,
            edges: 0,
            runs,
        });
    }
    let mut sorted = vec![Run { y: 0, from: 0, to: 0 }; runs.len()];
    for (run, root) in runs.iter().zip(roots) {
        let blob = &mut all[index[root as usize] as usize];
        sorted[blob.runs.1] = *run;
        blob.runs.1 += 1;
        blob.left = blob.left.min(run.from);
        blob.right = blob.right.max(run.to);
        blob.top = blob.top.min(run.y);
        blob.bottom = blob.bottom.max(run.y + 1);
        blob.area += run.to - run.from;
        let (clear, edges) = edges(grey, *run);
        blob.edges_clear += clear;
        blob.edges += edges;
    }
    Blobs { all, runs: sorted }
}

/// Looks 2 and 3 pixels beyond both ends (the pixel next to an edge is a mixture of both sides).
fn edges(grey: &Raster, run: Run) -> (u32, u32) {
    let row = &grey.data[run.y as usize * grey.width..][..grey.width];
    let inside = row[(run.from + run.to) as usize / 2];
    let left = [2, 3].map(|off| run.from.checked_sub(off));
    let right = [1, 2].map(|off| Some(run.to + off));
    let mut clear = 0;
    for side in [left, right] {
        let seen = side.into_iter().flatten().filter_map(|x| row.get(x as usize));
        if seen.map(|value| value.abs_diff(inside)).max().is_some_and(|most| most >= CLEAR) {
            clear += 1;
        }
    }
    (clear, 2)
}

fn root(parent: &mut [u32], mut run: u32) -> u32 {
    while parent[run as usize] != run {
        parent[run as usize] = parent[parent[run as usize] as usize];
        run = parent[run as usize];
    }
    run
}

fn union(parent: &mut [u32], a: u32, b: u32) {
    let (a, b) = (root(parent, a), root(parent, b));
    parent[a.max(b) as usize] = a.min(b);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn diagonal_neighbours_are_one_blob_and_a_gap_parts_two() {
        let rows = ["#....#", ".#..#.", "..##..", "......", "######"];
        let data = rows.iter().flat_map(|r| r.bytes()).map(|b| if b == b'#' { 0 } else { 255 });
        let grey = Raster { width: 6, height: 5, data: data.collect() };
        let blobs = find(&grey, Ink::Dark(100)).expect("no noise");
        assert_eq!(blobs.all.len(), 2);
        assert_eq!(blobs.all.iter().map(|blob| blob.area).collect::<Vec<_>>(), [6, 6]);
        assert_eq!(blobs.runs(&blobs.all[0]).len(), 5);
    }
}

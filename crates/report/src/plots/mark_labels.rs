//! Where the labels of marks go, so that they do not cover each other.

use super::panels::Panel;

/// Size of the labels.
pub(super) const FONT: f64 = 10.0;
/// Radius of the marks.
pub(super) const MARK: f64 = 4.0;
const HEIGHT: f64 = FONT + 2.0;
/// A mark and its label touch at that distance; beyond, a line leads from one to the other.
const NEAR: f64 = MARK + 3.0;
/// Labels may stick out of the panel a little.
const OUTSIDE: f64 = 12.0;

/// How far to the side, and up or down, labels are tried.
const SIDES: [f64; 6] = [NEAR, 18.0, 34.0, 54.0, 78.0, 110.0];
const STEP: f64 = 4.0;
const N_STEPS: i32 = 45;
/// How many steps above or below its mark a label is tried, with their middles in line.
const N_OVER: i32 = 12;

/// What is bad about a place, in pixels of distance that would be as bad.
const COVERS: f64 = 4000.0;
const LEADER_CROSSES_LABEL: f64 = 160.0;
const LEADERS_CROSS: f64 = 120.0;
const ON_THE_LEFT: f64 = 6.0;

/// A rectangle that a mark or a label takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Area {
    pub(super) left: f64,
    pub(super) top: f64,
    pub(super) right: f64,
    pub(super) bottom: f64,
}

/// A label's place, and the line from its mark to it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Label {
    pub(super) area: Area,
    pub(super) leader: ((f64, f64), (f64, f64)),
    /// Whether it ends at the leader, rather than beginning there.
    pub(super) is_left: bool,
}

/// Places for labels of these widths, in the order of the marks.
pub(super) fn place_labels(panel: &Panel, marks: &[(f64, f64)], widths: &[f64]) -> Vec<Label> {
    let areas: Vec<Area> = marks.iter().map(|&(x, y)| Area::around(x, y)).collect();
    let mut order: Vec<(usize, (f64, f64), f64)> =
        marks.iter().zip(widths).enumerate().map(|(index, (&at, &width))| (index, at, width)).collect();
    // From the top, so that the labels of a bunch come in the order of its marks.
    order.sort_by(|a, b| a.1.1.total_cmp(&b.1.1).then(a.1.0.total_cmp(&b.1.0)));
    let mut placed: Vec<(usize, Label)> = Vec::new();
    for (index, at, width) in order {
        let mut best = Label::beside(at, width, NEAR, 0.0);
        let mut least = f64::INFINITY;
        for candidate in candidates(at, width) {
            let others = placed.iter().map(|(_, label)| label);
            let cost = candidate.cost(at, panel) + candidate.trouble(others, &areas, at);
            if cost < least {
                (best, least) = (candidate, cost);
            }
        }
        placed.push((index, best));
    }
    placed.sort_by_key(|(index, _)| *index);
    placed.into_iter().map(|(_, label)| label).collect()
}

fn candidates(at: (f64, f64), width: f64) -> impl Iterator<Item = Label> {
    let over = (0..N_OVER).flat_map(move |n| [-1.0, 1.0].map(|sign| Label::over(at, width, sign, f64::from(n) * STEP)));
    let sides = SIDES.into_iter().flat_map(move |side| [side, -side]);
    let beside = sides
        .flat_map(move |side| (-N_STEPS..=N_STEPS).map(move |n| Label::beside(at, width, side, f64::from(n) * STEP)));
    beside.chain(over)
}

impl Label {
    /// That far on the right, or on the left if negative, and below.
    fn beside(at: (f64, f64), width: f64, side: f64, below: f64) -> Self {
        let (x, middle) = (at.0 + side, at.1 + below);
        let left = if side < 0.0 { x - width } else { x };
        let area = Area { left, top: middle - HEIGHT / 2.0, right: left + width, bottom: middle + HEIGHT / 2.0 };
        Self { area, is_left: side < 0.0, leader: (at, (x, middle)) }
    }

    /// That far below, or above with a negative sign, with their middles in line.
    fn over(at: (f64, f64), width: f64, sign: f64, far: f64) -> Self {
        let middle = at.1 + sign * (MARK + 1.5 + HEIGHT / 2.0 + far);
        let area = Area {
            left: at.0 - width / 2.0,
            top: middle - HEIGHT / 2.0,
            right: at.0 + width / 2.0,
            bottom: middle + HEIGHT / 2.0,
        };
        Self { area, is_left: false, leader: (at, (at.0, middle - sign * HEIGHT / 2.0)) }
    }

    pub(super) fn has_leader(&self) -> bool {
        let ((x, y), (to_x, to_y)) = self.leader;
        (to_x - x).abs() > NEAR + 1.0 || (to_y - y).abs() > MARK + 3.0
    }

    fn cost(&self, at: (f64, f64), panel: &Panel) -> f64 {
        let (_, (x, y)) = self.leader;
        let sticks_out = [
            panel.left + 1.0 - self.area.left,
            self.area.right - panel.right() - OUTSIDE,
            panel.top - 4.0 - self.area.top,
            self.area.bottom - panel.bottom() + 1.0,
        ];
        let outside: f64 = sticks_out.into_iter().map(|far| far.max(0.0)).sum();
        let side = if x < at.0 { ON_THE_LEFT } else { 0.0 };
        (x - at.0).abs() * 0.6 + (y - at.1).abs() + side + if outside > 0.0 { COVERS + outside } else { 0.0 }
    }

    fn trouble<'a>(&self, others: impl Iterator<Item = &'a Self>, marks: &[Area], at: (f64, f64)) -> f64 {
        let mut trouble = 0.0;
        let leader = self.leader;
        for other in others {
            trouble += f64::from(u8::from(self.area.meets(&other.area))) * COVERS;
            let crosses = self.has_leader() && other.area.is_crossed(leader);
            let is_crossed = other.has_leader() && self.area.is_crossed(other.leader);
            trouble += f64::from(u8::from(crosses) + u8::from(is_crossed)) * LEADER_CROSSES_LABEL;
            if self.has_leader() && other.has_leader() && do_cross(leader, other.leader) {
                trouble += LEADERS_CROSS;
            }
        }
        let covered = marks.iter().filter(|mark| self.area.meets(mark)).count();
        let is_other = |mark: &&Area| !mark.is_around(at);
        let crossed = marks.iter().filter(is_other).filter(|mark| self.has_leader() && mark.is_crossed(leader)).count();
        trouble + covered as f64 * COVERS + crossed as f64 * LEADER_CROSSES_LABEL / 4.0
    }
}

impl Area {
    fn around(x: f64, y: f64) -> Self {
        let reach = MARK + 0.5;
        Self { left: x - reach, top: y - reach, right: x + reach, bottom: y + reach }
    }

    fn is_around(&self, (x, y): (f64, f64)) -> bool {
        self.left <= x && x <= self.right && self.top <= y && y <= self.bottom
    }

    fn meets(&self, other: &Self) -> bool {
        self.left < other.right && other.left < self.right && self.top < other.bottom && other.top < self.bottom
    }

    fn is_crossed(&self, line: ((f64, f64), (f64, f64))) -> bool {
        let (a, b) = ((self.left, self.top), (self.right, self.bottom));
        do_cross(line, (a, b)) || do_cross(line, ((a.0, b.1), (b.0, a.1)))
    }
}

fn do_cross(one: ((f64, f64), (f64, f64)), other: ((f64, f64), (f64, f64))) -> bool {
    let side = |line: ((f64, f64), (f64, f64)), at: (f64, f64)| {
        let ((x, y), (to_x, to_y)) = line;
        (to_x - x) * (at.1 - y) - (to_y - y) * (at.0 - x)
    };
    side(one, other.0) * side(one, other.1) < 0.0 && side(other, one.0) * side(other, one.1) < 0.0
}

#[cfg(test)]
mod tests {
    use super::*;

    const PANEL: Panel = Panel { left: 0.0, top: 0.0, width: 400.0, height: 300.0 };

    #[test]
    fn a_lonely_label_is_beside_its_mark() {
        let label = place_labels(&PANEL, &[(100.0, 100.0)], &[50.0])[0];
        assert!(!label.has_leader());
        assert_eq!((label.area.left, label.area.right), (107.0, 157.0));
        // Where there is no room on the right, on the left.
        assert_eq!(place_labels(&PANEL, &[(395.0, 100.0)], &[50.0])[0].area.right, 388.0);
    }

    #[test]
    fn labels_of_a_bunch_do_not_cover_each_other() {
        let marks: Vec<(f64, f64)> = (0..12).map(|n| (8.0 + f64::from(n % 3), 100.0 + 4.0 * f64::from(n))).collect();
        let labels = place_labels(&PANEL, &marks, &[120.0; 12]);
        for (index, label) in labels.iter().enumerate() {
            assert!(labels[..index].iter().all(|other| !label.area.meets(&other.area)), "{label:?}");
            assert!(marks.iter().all(|&(x, y)| !label.area.meets(&Area::around(x, y))), "{label:?}");
            assert!(label.area.left >= 0.0 && label.area.right <= 412.0 && label.area.bottom <= 300.0);
        }
    }

    #[test]
    fn a_label_that_fits_nowhere_has_a_place() {
        let labels = place_labels(&Panel { width: 10.0, height: 10.0, ..PANEL }, &[(5.0, 5.0)], &[500.0]);
        assert!(labels[0].area.left.is_finite());
    }
}

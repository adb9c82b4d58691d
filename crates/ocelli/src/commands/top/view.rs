//! Draws the screen. What does not fit is cut off; what matters most stands first.

use ocelli_core::wire::Announcement;
use ratatui::Frame;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Cell, Paragraph, Row as Cells, Table};

use super::screen::{Breaker, Depth, Screen};
use crate::commands::status::{Row, duration};

const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);
const QUIET: Style = Style::new().fg(Color::DarkGray);
const GOOD: Style = Style::new().fg(Color::Green);
const WAITS: Style = Style::new().fg(Color::Yellow);
const BAD: Style = Style::new().fg(Color::Red);

/// The screen as plain text.
pub(crate) fn text(screen: &Screen, width: u16, height: u16) -> String {
    let Ok(mut terminal) = Terminal::new(TestBackend::new(width, height));
    // Drawing into memory does not fail.
    let Ok(_) = terminal.draw(|frame| draw(frame, screen));
    let buffer = terminal.backend().buffer();
    let line = |y| {
        let cells = (0..width).map(|x| buffer[(x, y)].symbol());
        cells.collect::<String>().trim_end().to_owned()
    };
    let lines: Vec<String> = (0..height).map(line).collect();
    lines.join("\n").trim_end().to_owned()
}

pub(crate) fn draw(frame: &mut Frame<'_>, screen: &Screen) {
    let height = |count: usize, most: u16| u16::try_from(count).unwrap_or(most).min(most);
    let notes = notes(screen);
    let [head, table, reasons, middle, failures, foot] = Layout::vertical([
        Constraint::Length(2),
        Constraint::Length(height(screen.sight.overview.analyzers.len(), 12) + 3),
        Constraint::Length(height(notes.len(), 6)),
        Constraint::Min(5),
        Constraint::Length(7),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    let [left, right] =
        Layout::horizontal([Constraint::Percentage(60), Constraint::Percentage(40)]).areas(middle);
    header(frame, head, screen);
    analyzer_table(frame, table, screen);
    frame.render_widget(Paragraph::new(notes), reasons);
    workers(frame, left, &screen.sight.workers);
    let models_height = match height(screen.sight.models.len(), 6) {
        0 => 0,
        lines => lines + 2,
    };
    let [above, below] =
        Layout::vertical([Constraint::Min(3), Constraint::Length(models_height)]).areas(right);
    queues(frame, above, screen);
    models(frame, below, screen);
    last_failures(frame, failures, screen);
    let keys = "↑↓ select  p pause  r resume  t retry failures  q quit";
    let foot_line = if screen.message.is_empty() {
        Line::styled(keys, QUIET)
    } else {
        Line::styled(screen.message.as_str(), BOLD)
    };
    frame.render_widget(Paragraph::new(foot_line), foot);
}

fn header(frame: &mut Frame<'_>, area: Rect, screen: &Screen) {
    let seen = &screen.sight.overview;
    let [left, right] =
        Layout::horizontal([Constraint::Min(10), Constraint::Length(22)]).areas(area);
    let mut counts = vec![
        Span::styled("ocelli  ", BOLD),
        Span::raw(format!("{} images, {} complete", seen.images, seen.complete)),
    ];
    for (count, what) in [
        (seen.refused, "refused"),
        (seen.problems, "unreadable"),
        (screen.sight.dead_letters, "dead messages"),
    ] {
        if count > 0 {
            counts.push(Span::styled(format!(", {count} {what}"), WAITS));
        }
    }
    frame.render_widget(Paragraph::new(Line::from(counts)), left);
    let at = screen.sight.at.strftime("%Y-%m-%d %H:%M:%SZ").to_string();
    frame.render_widget(Paragraph::new(Line::styled(at, QUIET).right_aligned()), right);
}

fn analyzer_table(frame: &mut Frame<'_>, area: Rect, screen: &Screen) {
    let names = [
        "analyzer", "done", "empty", "skipped", "failed", "waiting", "running", "workers",
        "per min", "ETA",
    ];
    let rows = screen.sight.overview.analyzers.iter().enumerate().map(|(index, row)| {
        let mark = if index == screen.selected { Modifier::REVERSED } else { Modifier::empty() };
        Cells::new(cells(row)).style(Style::new().add_modifier(mark))
    });
    let widths = [Constraint::Fill(1)].into_iter().chain([Constraint::Length(8); 9]);
    let table = Table::new(rows, widths).header(Cells::new(names).style(BOLD)).column_spacing(1);
    frame.render_widget(table.block(Block::bordered().title(" analyzers ")), area);
}

/// Why analyzers do not work, and whose clocks are wrong, one line each.
fn notes(screen: &Screen) -> Vec<Line<'static>> {
    let noted = screen.sight.overview.analyzers.iter().filter_map(|row| {
        let note = row.note.as_ref()?.replace(|c: char| c.is_control(), " ");
        let style = if row.paused { WAITS } else { QUIET };
        Some(Line::styled(format!(" {}: {note}", row.analyzer), style))
    });
    let clocks = screen.sight.overview.clocks.iter();
    noted.chain(clocks.map(|clock| Line::styled(format!(" {clock}"), WAITS))).collect()
}

fn cells(row: &Row) -> Vec<Cell<'static>> {
    let number = |count: u64, style: Style| Cell::from(count.to_string()).style(style);
    let failed = if row.failed > 0 { BAD } else { Style::new() };
    let eta = row.eta_seconds.map_or_else(|| "-".to_owned(), duration);
    vec![
        Cell::from(row.analyzer.to_string()),
        number(row.done, GOOD),
        number(row.empty, Style::new()),
        number(row.skipped, Style::new()),
        number(row.failed, failed),
        number(row.waiting, Style::new()),
        number(row.running, Style::new()),
        number(row.workers as u64, if row.workers == 0 { WAITS } else { Style::new() }),
        number(row.per_minute, Style::new()),
        Cell::from(eta),
    ]
}

fn workers(frame: &mut Frame<'_>, area: Rect, workers: &[Announcement]) {
    let rows = workers.iter().map(|worker| {
        let (state, style) = match (&worker.waiting, worker.paused) {
            (_, true) => ("paused".to_owned(), WAITS),
            (Some(reason), false) => (reason.replace(|c: char| c.is_control(), " "), WAITS),
            (None, false) => ("ready".to_owned(), GOOD),
        };
        Cells::new([
            Cell::from(worker.worker.clone()),
            Cell::from(worker.analyzer.to_string()),
            Cell::from(format!("{}/{}", worker.in_progress, worker.slots)),
            Cell::from(state).style(style),
        ])
    });
    let widths = [
        Constraint::Length(20),
        Constraint::Length(20),
        Constraint::Length(7),
        Constraint::Fill(1),
    ];
    let header = Cells::new(["worker", "analyzer", "busy", "state"]).style(BOLD);
    let title = format!(" {} workers ", workers.len());
    let table = Table::new(rows, widths).header(header);
    frame.render_widget(table.block(Block::bordered().title(title)), area);
}

fn queues(frame: &mut Frame<'_>, area: Rect, screen: &Screen) {
    let mut lines: Vec<Line<'_>> =
        screen.sight.queues.iter().map(|(name, depth)| queue(name, *depth)).collect();
    if screen.sight.queues.is_empty() {
        lines.push(Line::styled("in the memory of 'ocelli run' or 'ocelli up'", QUIET));
    }
    for (budget, used) in &screen.sight.budgets {
        let style = if *used >= 0.9 { BAD } else { Style::new() };
        lines.push(Line::styled(format!("{:>4.0} % of {budget}", used * 100.0), style));
    }
    frame.render_widget(
        Paragraph::new(lines).block(Block::bordered().title(" queues, budgets ")),
        area,
    );
}

/// Whether models are asked, and what they have cost this month, one line each.
fn models(frame: &mut Frame<'_>, area: Rect, screen: &Screen) {
    let lines = screen.sight.models.iter().map(|model| {
        let style = match model.breaker {
            Breaker::Open => BAD,
            Breaker::Unknown => QUIET,
            Breaker::Closed => Style::new(),
        };
        Line::from(vec![
            Span::raw(format!("{}: breaker ", model.analyzer)),
            Span::styled(model.breaker.name(), style),
            Span::raw(format!(", {}", model.spent.as_deref().unwrap_or("nothing spent"))),
        ])
    });
    let lines: Vec<Line<'_>> = lines.collect();
    if !lines.is_empty() {
        let block = Block::bordered().title(" models, spent this month ");
        frame.render_widget(Paragraph::new(lines).block(block), area);
    }
}

fn queue(name: &str, depth: Option<Depth>) -> Line<'static> {
    match depth {
        None => Line::styled(format!("{name}: not there"), QUIET),
        Some(Depth { ready, consumers: 0 }) if ready > 0 => {
            Line::styled(format!("{name}: {ready}, nobody listens"), BAD)
        }
        Some(Depth { ready, consumers }) => Line::raw(format!("{name}: {ready} ({consumers})")),
    }
}

fn last_failures(frame: &mut Frame<'_>, area: Rect, screen: &Screen) {
    let lines = screen.sight.failures.iter().map(|failure| {
        let reason = failure.reason.replace(|c: char| c.is_control(), " ");
        Line::from(vec![
            Span::styled(format!("{} {} ", failure.digest.short(), failure.class), BAD),
            Span::raw(format!("{}: {reason}", failure.analyzer)),
        ])
    });
    let block = Block::bordered().title(" last failures ");
    frame.render_widget(Paragraph::new(lines.collect::<Vec<_>>()).block(block), area);
}

#[cfg(test)]
mod tests {
    use ocelli_catalog::Failure;
    use ocelli_core::{AnalyzerName, Digest, FailureClass, RevisionBuilder};
    use ratatui::crossterm::event::{KeyCode, KeyModifiers};

    use super::*;
    use crate::commands::status::Overview;
    use crate::commands::top::screen::{Action, Model, Sight};

    fn name(text: &str) -> AnalyzerName {
        text.parse().unwrap()
    }

    fn row(analyzer: &str, failed: u64, note: Option<&str>) -> Row {
        Row {
            analyzer: name(analyzer),
            done: 1200,
            empty: 34,
            skipped: 0,
            failed,
            waiting: 560,
            running: 4,
            deferred: 0,
            per_minute: 80,
            eta_seconds: Some(423),
            workers: 2,
            paused: note.is_some(),
            note: note.map(str::to_owned),
        }
    }

    fn worker(analyzer: &str, waiting: Option<&str>) -> Announcement {
        Announcement {
            analyzer: name(analyzer),
            revision: None,
            kind: "ocr".to_owned(),
            description: String::new(),
            worker: "host:4711".to_owned(),
            slots: 4,
            in_progress: 2,
            waiting: waiting.map(str::to_owned),
            paused: false,
            leaving: false,
            at: jiff::Timestamp::UNIX_EPOCH,
        }
    }

    fn screen() -> Screen {
        let analyzers = vec![
            row("tesseract-ocr", 3, None),
            row("llama3.2-vision", 0, Some("paused by 'ocelli pause': prices")),
        ];
        Screen::new(Sight {
            at: "2024-05-04T09:00:51Z".parse().unwrap(),
            overview: Overview {
                images: 1801,
                complete: 1237,
                refused: 2,
                sightings: 1900,
                problems: 0,
                analyzers,
                batches: Vec::new(),
                spending: None,
                listeners: Vec::new(),
                clocks: vec!["worker host:4711: clock is 60 min ahead".to_owned()],
            },
            workers: vec![
                worker("tesseract-ocr", None),
                worker("llama3.2-vision", Some("no model server\ncan be asked")),
            ],
            failures: vec![Failure {
                digest: Digest::of(b"image"),
                source: None,
                analyzer: name("tesseract-ocr"),
                revision: RevisionBuilder::new("test").build(),
                class: FailureClass::Crash,
                reason: "the OCR child died\nwhile reading".to_owned(),
                attempts: 2,
                at: jiff::Timestamp::UNIX_EPOCH,
            }],
            budgets: vec![("25 USD per month for all analyzers".to_owned(), 0.93)],
            models: vec![Model {
                analyzer: name("llama3.2-vision"),
                breaker: Breaker::Open,
                spent: Some("12.5 USD".to_owned()),
            }],
            dead_letters: 1,
            queues: vec![
                ("jobs.tesseract-ocr".to_owned(), Some(Depth { ready: 556, consumers: 2 })),
                ("jobs.llama3.2-vision".to_owned(), Some(Depth { ready: 9, consumers: 0 })),
                ("results".to_owned(), None),
            ],
        })
    }

    #[test]
    fn the_screen_shows_analyzers_workers_queues_budgets_and_failures() {
        let shown = text(&screen(), 110, 30);
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/src/commands/top/screen.txt");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(file, format!("{shown}\n")).unwrap();
        }
        let expected = std::fs::read_to_string(file).unwrap();
        assert!(shown == expected.trim_end(), "UPDATE_DOCS=1 writes it anew:\n{shown}");
    }

    #[test]
    fn a_breaker_is_open_while_a_worker_waits_that_nobody_told_to() {
        let ready = worker("llama3.2-vision", None);
        let waits = worker("llama3.2-vision", Some("no model server can be asked"));
        let told = Announcement { paused: true, ..waits.clone() };
        assert_eq!(Breaker::of(&[], false), Breaker::Unknown);
        assert_eq!(Breaker::of(&[&ready], false), Breaker::Closed);
        assert_eq!(Breaker::of(&[&ready, &waits], false), Breaker::Open);
        assert_eq!(Breaker::of(&[&waits], true), Breaker::Closed, "the analyzer is paused");
        assert_eq!(Breaker::of(&[&ready, &told], false), Breaker::Closed, "the worker is");
    }

    #[test]
    fn every_size_of_terminal_is_drawn() {
        for (width, height) in [(1, 1), (20, 5), (80, 24), (300, 100)] {
            text(&screen(), width, height);
        }
        let mut empty = screen();
        empty.sight.overview.analyzers.clear();
        empty.selected = 7;
        text(&empty, 80, 24);
        assert_eq!(empty.press(KeyCode::Char('p'), KeyModifiers::NONE), None);
    }

    #[test]
    fn keys_pause_resume_and_retry_what_is_selected_and_a_retry_is_asked_for_twice() {
        let mut screen = screen();
        let mut press = |key| screen.press(key, KeyModifiers::NONE);
        assert_eq!(press(KeyCode::Char('p')), Some(Action::Pause(name("tesseract-ocr"))));
        assert_eq!(press(KeyCode::Char('t')), None);
        assert_eq!(press(KeyCode::Char('n')), None, "no");
        assert_eq!(press(KeyCode::Char('t')), None);
        assert_eq!(press(KeyCode::Char('y')), Some(Action::Retry(name("tesseract-ocr"))));
        assert_eq!(press(KeyCode::Down), None);
        assert_eq!(press(KeyCode::Down), None);
        assert_eq!(press(KeyCode::Char('r')), Some(Action::Resume(name("llama3.2-vision"))));
        assert_eq!(press(KeyCode::Char('t')), None, "nothing has failed");
        assert_eq!(press(KeyCode::Char('y')), None);
        assert_eq!(press(KeyCode::Char('q')), Some(Action::Quit));
        let quit = screen.press(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert_eq!(quit, Some(Action::Quit));
    }
}

//! Where a place in a model's answer is: in its prose, where `[1]` may be a mark, or where brackets are the answer's own.
//!
//! Follows the text character by character, so that it comes to the same however the text arrives. Code is told as
//! Markdown tells it: spans between as many backticks, which end with their paragraph at the latest, and fences.

/// What stands before a place.
#[derive(Debug, Clone, Copy)]
pub(super) struct Around {
    before: Before,
    /// Only white space since the line began.
    line_is_blank: bool,
    run: Run,
    code: Code,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Before {
    /// Brackets that touch it belong to it: `a[1]`, `[a][1]`.
    Word,
    Other,
}

/// Backticks or tildes in a row, the last characters so far.
#[derive(Debug, Clone, Copy)]
struct Run {
    of: char,
    length: usize,
    begins_line: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Code {
    None,
    /// Between backticks, this many on either side.
    Span(usize),
    /// `first_line`: no line has ended since, so that it may turn out a span.
    Fence {
        of: char,
        length: usize,
        first_line: bool,
    },
}

impl Default for Around {
    fn default() -> Self {
        let run = Run { of: '`', length: 0, begins_line: false };
        Self { before: Before::Other, line_is_blank: true, run, code: Code::None }
    }
}

impl Around {
    /// Goes on behind this text.
    pub(super) fn pass(&mut self, text: &str) {
        text.chars().for_each(|character| self.pass_one(character));
    }

    /// Whether a bracket here may open a mark.
    pub(super) fn has_marks(mut self) -> bool {
        self.settle();
        self.before == Before::Other && self.code == Code::None
    }

    /// The same place, after a mark that was taken out: another one may follow.
    pub(super) fn behind_mark(mut self) -> Self {
        self.settle();
        Self { before: Before::Other, line_is_blank: false, ..self }
    }

    fn pass_one(&mut self, character: char) {
        if matches!(character, '`' | '~') {
            if self.run.length > 0 && self.run.of == character {
                self.run.length += 1;
            } else {
                self.settle();
                self.run = Run { of: character, length: 1, begins_line: self.line_is_blank };
            }
            self.line_is_blank = false;
            self.before = Before::Other;
            return;
        }
        self.settle();
        if character == '\n' {
            self.end_line();
        } else if !character.is_whitespace() {
            self.line_is_blank = false;
        }
        self.before = if is_of_word(character) { Before::Word } else { Before::Other };
    }

    fn end_line(&mut self) {
        self.code = match self.code {
            // A lone backtick is no code.
            Code::Span(_) if self.line_is_blank => Code::None,
            Code::Fence { of, length, .. } => Code::Fence { of, length, first_line: false },
            code => code,
        };
        self.line_is_blank = true;
    }

    /// Takes a run for what it is, when it has ended.
    fn settle(&mut self) {
        let Run { of, length, begins_line } = self.run;
        if length == 0 {
            return;
        }
        self.run.length = 0;
        self.code = match self.code {
            Code::None if begins_line && length >= 3 => Code::Fence { of, length, first_line: true },
            Code::None if of == '`' => Code::Span(length),
            Code::Span(opened) if of == '`' && opened == length => Code::None,
            Code::Fence { of: opened, length: least, first_line }
                if of == opened && length >= least && (begins_line || first_line && of == '`') =>
            {
                Code::None
            }
            code => code,
        };
    }
}

/// Whether a character can be the end of a name. In scripts without spaces between words, a mark touches what it is about.
fn is_of_word(character: char) -> bool {
    const FIRST_UNSPACED: char = '\u{0E00}';
    matches!(character, '_' | ']') || character.is_alphanumeric() && character < FIRST_UNSPACED
}

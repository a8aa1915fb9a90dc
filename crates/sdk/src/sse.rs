//! The lines of an event stream, put together from pieces of any size.

/// The longest event that is put together, in bytes; a server that sends longer ones is left.
const LONGEST: usize = 64 << 20;

/// Reads server-sent events.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    line: Vec<u8>,
    event: String,
    data: String,
    has_data: bool,
    after_return: bool,
}

/// The event is too long, or not UTF-8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unreadable;

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) name: String,
    pub(crate) data: String,
}

impl Reader {
    /// Takes the next piece and hands over what is complete.
    pub(crate) fn take(&mut self, piece: &[u8], events: &mut Vec<Event>) -> Result<(), Unreadable> {
        for &byte in piece {
            match byte {
                b'\n' if self.after_return => {}
                b'\n' | b'\r' => self.end_line(events)?,
                _ => self.line.push(byte),
            }
            self.after_return = byte == b'\r';
        }
        if self.line.len() + self.data.len() > LONGEST { Err(Unreadable) } else { Ok(()) }
    }

    fn end_line(&mut self, events: &mut Vec<Event>) -> Result<(), Unreadable> {
        let line = std::mem::take(&mut self.line);
        if line.is_empty() {
            let (name, data) = (std::mem::take(&mut self.event), std::mem::take(&mut self.data));
            if std::mem::take(&mut self.has_data) {
                events.push(Event { name, data });
            }
            return Ok(());
        }
        let line = std::str::from_utf8(&line).map_err(|_| Unreadable)?;
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.event),
            "data" => {
                if self.has_data {
                    self.data.push('\n');
                }
                self.has_data = true;
                self.data.push_str(value);
            }
            // Comments, `id` (cursors are in the data), `retry` (waits are the client's own), fields to come.
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_any_size_give_the_same_events() {
        let text = "\u{feff}ignored\n: hi\n\nevent: put\nid: 7\ndata: {\"a\":\ndata: \"ü\"}\n\ndata:x\r\n\r\nevent: y\r\rdata\n\nevent: cut\ndata: off";
        let want = vec![
            Event { name: "put".into(), data: "{\"a\":\n\"ü\"}".into() },
            Event { name: String::new(), data: "x".into() },
            Event { name: String::new(), data: String::new() },
        ];
        for size in 1..text.len() {
            let (mut reader, mut events) = (Reader::default(), Vec::new());
            for piece in text.as_bytes().chunks(size) {
                reader.take(piece, &mut events).expect("it is readable");
            }
            assert_eq!(events, want, "pieces of {size}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_refused() {
        assert_eq!(Reader::default().take(b"data: \xff\n", &mut Vec::new()), Err(Unreadable));
    }
}

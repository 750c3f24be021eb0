//! One value on its way to or from a database.

/// What a placeholder or a column holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Cell<'a> {
    Null,
    Int(i64),
    Real(f64),
    Text(&'a str),
    Blob(&'a [u8]),
}

impl Cell<'_> {
    /// What it is, for people.
    pub(crate) fn kind(self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Int(_) => "a whole number",
            Self::Real(_) => "a number",
            Self::Text(_) => "text",
            Self::Blob(_) => "bytes",
        }
    }
}

/// What can be given to a placeholder.
pub(crate) trait ToCell {
    fn to_cell(&self) -> Cell<'_>;
}

/// What a column can be read as. The error says what it holds instead.
pub(crate) trait FromCell: Sized {
    fn from_cell(cell: Cell<'_>) -> Result<Self, &'static str>;
}

impl ToCell for Cell<'_> {
    fn to_cell(&self) -> Cell<'_> {
        *self
    }
}

impl<T: ToCell + ?Sized> ToCell for &T {
    fn to_cell(&self) -> Cell<'_> {
        (**self).to_cell()
    }
}

impl<T: ToCell> ToCell for Option<T> {
    fn to_cell(&self) -> Cell<'_> {
        self.as_ref().map_or(Cell::Null, ToCell::to_cell)
    }
}

impl<T: FromCell> FromCell for Option<T> {
    fn from_cell(cell: Cell<'_>) -> Result<Self, &'static str> {
        if cell == Cell::Null { Ok(None) } else { T::from_cell(cell).map(Some) }
    }
}

macro_rules! whole_number {
    ($($kind:ty),*) => { $(
        impl ToCell for $kind {
            fn to_cell(&self) -> Cell<'_> {
                Cell::Int(i64::from(*self))
            }
        }

        impl FromCell for $kind {
            fn from_cell(cell: Cell<'_>) -> Result<Self, &'static str> {
                let Cell::Int(number) = cell else { return Err(cell.kind()) };
                number.try_into().map_err(|_| "too large a number")
            }
        }
    )* };
}
whole_number!(i64, i32, i16, u8, u16);

impl ToCell for bool {
    fn to_cell(&self) -> Cell<'_> {
        Cell::Int(i64::from(*self))
    }
}

impl FromCell for bool {
    fn from_cell(cell: Cell<'_>) -> Result<Self, &'static str> {
        if let Cell::Int(number) = cell { Ok(number != 0) } else { Err(cell.kind()) }
    }
}

impl ToCell for f64 {
    fn to_cell(&self) -> Cell<'_> {
        Cell::Real(*self)
    }
}

impl FromCell for f64 {
    fn from_cell(cell: Cell<'_>) -> Result<Self, &'static str> {
        if let Cell::Real(number) = cell { Ok(number) } else { Err(cell.kind()) }
    }
}

impl ToCell for str {
    fn to_cell(&self) -> Cell<'_> {
        Cell::Text(self)
    }
}

impl ToCell for String {
    fn to_cell(&self) -> Cell<'_> {
        Cell::Text(self)
    }
}

impl FromCell for String {
    fn from_cell(cell: Cell<'_>) -> Result<Self, &'static str> {
        if let Cell::Text(text) = cell { Ok(text.to_owned()) } else { Err(cell.kind()) }
    }
}

impl ToCell for [u8] {
    fn to_cell(&self) -> Cell<'_> {
        Cell::Blob(self)
    }
}

impl FromCell for Vec<u8> {
    fn from_cell(cell: Cell<'_>) -> Result<Self, &'static str> {
        if let Cell::Blob(bytes) = cell { Ok(bytes.to_vec()) } else { Err(cell.kind()) }
    }
}

impl<const N: usize> ToCell for [u8; N] {
    fn to_cell(&self) -> Cell<'_> {
        Cell::Blob(self)
    }
}

impl<const N: usize> FromCell for [u8; N] {
    fn from_cell(cell: Cell<'_>) -> Result<Self, &'static str> {
        let Cell::Blob(bytes) = cell else { return Err(cell.kind()) };
        bytes.try_into().map_err(|_| "too many bytes or too few")
    }
}

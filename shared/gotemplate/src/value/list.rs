//! Go slices.

use std::cell::OnceCell;
use std::rc::Rc;
use std::sync::Arc;

use super::{Constant, Type, Value, dispose, types};

/// A Go slice: shared and immutable, because no template function writes to a slice that it was passed.
#[derive(Clone)]
pub struct List {
    ty: Type,
    items: Option<Rc<Items>>,
}

pub(super) struct Items {
    values: OnceCell<Vec<Value>>,
    /// The constants that the values are created from on first access.
    constants: Option<Arc<[Constant]>>,
}

impl Drop for Items {
    fn drop(&mut self) {
        if let Some(values) = self.values.take() {
            dispose::values(values);
        }
    }
}

impl List {
    /// A `[]interface {}` of these values.
    pub fn new(items: Vec<Value>) -> Self {
        Self::of(&types::ANY_SLICE, items)
    }

    /// A slice of type `ty` (its kind is slice); the items must have its element type.
    pub fn of(ty: Type, items: Vec<Value>) -> Self {
        Self {
            ty,
            items: Some(Rc::new(Items {
                values: items.into(),
                constants: None,
            })),
        }
    }

    /// A `[]interface {}` of these constants.
    pub fn constant(items: Arc<[Constant]>) -> Self {
        Self {
            ty: &types::ANY_SLICE,
            items: Some(Rc::new(Items {
                values: OnceCell::new(),
                constants: Some(items),
            })),
        }
    }

    /// The constants that it was created from, unless its items have been accessed.
    pub fn as_constant(&self) -> Option<&Arc<[Constant]>> {
        let items = self.items.as_ref()?;
        let constants = items.constants.as_ref()?;
        items.values.get().is_none().then_some(constants)
    }

    /// A `[]string` of these texts.
    pub fn strings<S: Into<super::Str>>(items: impl IntoIterator<Item = S>) -> Self {
        let items = items.into_iter().map(|s| Value::Str(s.into())).collect();
        Self::of(&types::STRING_SLICE, items)
    }

    /// The nil slice of type `ty`, which prints as `[]` and is `null` in JSON.
    pub const fn nil(ty: Type) -> Self {
        Self { ty, items: None }
    }

    /// Whether this is a nil slice.
    pub const fn is_nil(&self) -> bool {
        self.items.is_none()
    }

    /// The type.
    pub const fn go_type(&self) -> Type {
        self.ty
    }

    /// The same items with another slice type.
    pub fn with_type(mut self, ty: Type) -> Self {
        self.ty = ty;
        self
    }

    /// The items; empty for a nil slice.
    #[inline]
    pub fn items(&self) -> &[Value] {
        self.items.as_ref().map_or(&[], |items| {
            items.values.get_or_init(|| {
                let constants = items.constants.iter().flat_map(|items| items.iter());
                constants.map(Constant::value).collect()
            })
        })
    }

    /// Whether both share their memory.
    pub fn same(&self, other: &Self) -> bool {
        match (&self.items, &other.items) {
            (Some(a), Some(b)) => Rc::ptr_eq(a, b),
            (None, None) => true,
            _ => false,
        }
    }
}

impl FromIterator<Value> for List {
    fn from_iter<I: IntoIterator<Item = Value>>(iter: I) -> Self {
        Self::new(iter.into_iter().collect())
    }
}

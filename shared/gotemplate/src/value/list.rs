//! Go slices.

use std::cell::OnceCell;
use std::rc::Rc;
use std::sync::Arc;

use super::{Constant, Type, Value, dispose, types};

/// A Go slice: shared and never changed, because no template function writes to a slice it was given.
#[derive(Clone)]
pub struct List {
    ty: Type,
    items: Option<Rc<Items>>,
}

pub(super) struct Items {
    values: OnceCell<Vec<Value>>,
    /// What the values are made of when somebody asks for them.
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
    /// `[]interface {}` of these values.
    pub fn new(items: Vec<Value>) -> Self {
        Self::of(&types::ANY_SLICE, items)
    }

    /// A slice of type `ty` (its kind is slice); the caller sees to it that the items have its element type.
    pub fn of(ty: Type, items: Vec<Value>) -> Self {
        Self {
            ty,
            items: Some(Rc::new(Items {
                values: items.into(),
                constants: None,
            })),
        }
    }

    /// `[]interface {}` of these constants.
    pub fn constant(items: Arc<[Constant]>) -> Self {
        Self {
            ty: &types::ANY_SLICE,
            items: Some(Rc::new(Items {
                values: OnceCell::new(),
                constants: Some(items),
            })),
        }
    }

    /// The constants that it was made of, where nobody has looked at the items yet.
    pub fn as_constant(&self) -> Option<&Arc<[Constant]>> {
        let items = self.items.as_ref()?;
        let constants = items.constants.as_ref()?;
        items.values.get().is_none().then_some(constants)
    }

    /// `[]string` of these texts.
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

    /// The same items under another slice type.
    pub fn with_type(mut self, ty: Type) -> Self {
        self.ty = ty;
        self
    }

    /// The items; none of a nil slice.
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

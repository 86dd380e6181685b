//! What of a cluster outlives the process: its objects, one by one, and their way back.
//!
//! Objects do not keep their labels, so that what was decided by them is kept: who sees the object, and what selects it.
//! That means something only beside the filters and selectors that the cluster was made with.

use ahash::HashSet;

use super::{Cluster, Visibility};
use crate::model::{Kind, Namespace, Object, ObjectKey};

/// An object as a cluster holds it.
#[derive(Clone, Debug, PartialEq)]
pub struct Kept {
    /// The object, without its labels.
    pub object: Object,
    /// Which filters let it through.
    pub visible: Visibility,
}

impl Kept {
    /// Which selectors of the cluster select it: bit `i` stands for selector `i`. Services and ServiceImports have some.
    pub fn selected(&self) -> u64 {
        match &self.object {
            Object::Service(service) | Object::ServiceImport(service) => {
                service.settings.as_ref().map_or(0, |settings| settings.selected)
            }
            _ => 0,
        }
    }

    /// The same object, selected by these.
    pub fn with_selected(mut self, selected: u64) -> Self {
        if let Object::Service(service) | Object::ServiceImport(service) = &mut self.object {
            if selected != 0 {
                service.settings.get_or_insert_default().selected = selected;
            } else if let Some(mut settings) = service.settings.take() {
                settings.selected = 0;
                service.settings = (*settings != Default::default()).then_some(settings);
            }
        }
        self
    }
}

impl Cluster {
    /// How often an object came, changed or went: what is held has not changed as long as this has not.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The keys of all objects of a kind. They share their texts with the objects.
    pub fn keys(&self, kind: Kind) -> Vec<ObjectKey> {
        match kind {
            Kind::Namespace => self.namespaces.live.keys().map(|name| ObjectKey::new("", name.clone())).collect(),
            Kind::Service => self.services.live.keys().cloned().collect(),
            Kind::EndpointSlice => self.slices.live.keys().cloned().collect(),
            Kind::Pod => self.pods.live.keys().cloned().collect(),
            Kind::ServiceImport => self.imports.live.keys().cloned().collect(),
        }
    }

    /// An object as it is held. The clone shares what is large.
    pub fn kept(&self, kind: Kind, key: &ObjectKey) -> Option<Kept> {
        let (object, visible) = match kind {
            Kind::Namespace => {
                let (name, live) = self.namespaces.live.get_key_value(&key.name)?;
                (Object::Namespace(Namespace { name: name.clone(), labels: Default::default() }), live.visible)
            }
            Kind::Service => self.services.live.get(key).map(|it| (Object::Service(it.object.clone()), it.visible))?,
            Kind::EndpointSlice => {
                self.slices.live.get(key).map(|it| (Object::EndpointSlice(it.object.clone()), it.visible))?
            }
            Kind::Pod => self.pods.live.get(key).map(|it| (Object::Pod(it.object.clone()), it.visible))?,
            Kind::ServiceImport => {
                self.imports.live.get(key).map(|it| (Object::ServiceImport(it.object.clone()), it.visible))?
            }
        };
        Some(Kept { object, visible })
    }

    /// Takes an object back that a cluster with the same filters and selectors held. The first listing of its kind goes
    /// over it as over any other.
    pub fn restore(&mut self, kept: Kept) {
        let Kept { object, visible } = kept;
        match object {
            Object::Namespace(namespace) => self.put_namespace(namespace.name, visible),
            Object::Service(service) => self.put_service(service, visible),
            Object::EndpointSlice(slice) => self.put_slice(slice, visible),
            Object::Pod(pod) => self.put_pod(pod, visible),
            Object::ServiceImport(import) => self.put_import(import, visible),
        }
    }

    /// What was restored went later.
    pub fn forget(&mut self, kind: Kind, key: &ObjectKey) {
        self.remove(kind, key);
    }

    /// All objects of these kinds have been restored: they count as listed until they are.
    pub fn set_restored(&mut self, kinds: &[Kind]) {
        self.restored.extend(kinds);
        self.dirty.synced = true;
    }

    /// The kinds whose objects are restored ones still, and not those of a listing.
    pub fn restored(&self) -> &HashSet<Kind> {
        &self.restored
    }

    /// From now on [`Self::take_touched`] tells of what changes; or no more.
    pub fn track(&mut self, is_wanted: bool) {
        self.touched = is_wanted.then(HashSet::default);
    }

    /// The objects that came, changed or went since the last call, or since they are tracked.
    pub fn take_touched(&mut self) -> HashSet<(Kind, ObjectKey)> {
        self.touched.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// How many objects [`Self::take_touched`] would give.
    pub fn touched(&self) -> usize {
        self.touched.as_ref().map_or(0, HashSet::len)
    }

    /// An object came, changed or went.
    pub(super) fn touch(&mut self, kind: Kind, key: &ObjectKey) {
        self.revision += 1;
        if let Some(touched) = &mut self.touched {
            touched.insert((kind, key.clone()));
        }
    }
}

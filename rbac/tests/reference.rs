//! The index answers as a plain walk over all objects does, whatever the objects and the question.

mod naive;
mod shapes;
mod world;

use proptest::prelude::*;
use streamway_rbac::{Index, Policy};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_question_of_a_cluster(
        objects in world::objects(),
        asked in proptest::collection::vec((world::who(), world::question()), 20),
    ) {
        let index = Index::new(objects.add_to(Policy::of_cluster()));
        for (who, question) in asked {
            let expected = naive::may(&objects, &who, &question);
            let path = index.may(&who, &question);
            prop_assert_eq!(path.is_some(), expected, "{:?} {:?}: {:?}", who, question, path);
        }
    }

    #[test]
    fn any_question_of_manifests(
        mut objects in world::objects(),
        asked in proptest::collection::vec((world::who(), world::question()), 20),
    ) {
        let index = Index::new(objects.add_to(Policy::of_manifests()));
        naive::aggregate(&mut objects);
        for (who, question) in asked {
            let expected = naive::may(&objects, &who, &question);
            let path = index.may(&who, &question);
            prop_assert_eq!(path.is_some(), expected, "{:?} {:?}: {:?}", who, question, path);
        }
    }
}

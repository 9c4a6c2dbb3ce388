package main

import (
	"errors"
	"sort"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apischema "k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"

	"helm.sh/helm/v4/pkg/action"
)

type versionsRequest struct {
	Kinds []struct {
		Version string   `json:"version"`
		Kinds   []string `json:"kinds"`
	} `json:"kinds"`
	Failed []string `json:"failed"`
}

// served is a fake of a cluster's discovery API.
type served struct {
	discovery.ServerResourcesInterface
	versionsRequest
}

func (s served) ServerGroupsAndResources() ([]*metav1.APIGroup, []*metav1.APIResourceList, error) {
	var groups []*metav1.APIGroup
	var resources []*metav1.APIResourceList
	for _, k := range s.Kinds {
		groups = append(groups, &metav1.APIGroup{Versions: []metav1.GroupVersionForDiscovery{{GroupVersion: k.Version}}})
		list := &metav1.APIResourceList{GroupVersion: k.Version}
		for _, kind := range k.Kinds {
			list.APIResources = append(list.APIResources, metav1.APIResource{Kind: kind})
		}
		resources = append(resources, list)
	}
	if len(s.Failed) == 0 {
		return groups, resources, nil
	}
	failed := map[apischema.GroupVersion]error{}
	for _, v := range s.Failed {
		groups = append(groups, &metav1.APIGroup{Versions: []metav1.GroupVersionForDiscovery{{GroupVersion: v}}})
		gv, _ := apischema.ParseGroupVersion(v)
		failed[gv] = errors.New("unable to handle the request")
	}
	return groups, resources, &discovery.ErrGroupDiscoveryFailed{Groups: failed}
}

// versions returns the API versions of a cluster that charts see.
func versions(r versionsRequest) (any, error) {
	found, err := action.GetVersionSet(served{versionsRequest: r})
	sort.Strings(found)
	return found, err
}

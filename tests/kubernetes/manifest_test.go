// Package kubernetes reads the manifests in packaging/ as a cluster does.
package kubernetes

import (
	"bytes"
	"io"
	"os"
	"testing"

	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/yaml"
	strict "sigs.k8s.io/yaml"
)

// Every document is of a kind that there is and has no field that there is not; what refers to something else finds it.
func TestManifest(t *testing.T) {
	text, err := os.ReadFile("../../packaging/daemonset.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var config core.ConfigMap
	var daemons apps.DaemonSet
	documents := yaml.NewDocumentDecoder(io.NopCloser(bytes.NewReader(text)))
	for _, into := range []any{&config, &daemons} {
		document := make([]byte, 1<<16)
		n, err := documents.Read(document)
		if err != nil {
			t.Fatal(err)
		}
		if err := strict.UnmarshalStrict(document[:n], into); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := documents.Read(make([]byte, 1<<16)); err != io.EOF {
		t.Errorf("%d bytes more, %v", n, err)
	}
	if config.Kind != "ConfigMap" || config.APIVersion != "v1" || daemons.Kind != "DaemonSet" || daemons.APIVersion != "apps/v1" {
		t.Errorf("%v, %v", config.TypeMeta, daemons.TypeMeta)
	}

	pod := daemons.Spec.Template
	selector, err := meta.LabelSelectorAsSelector(daemons.Spec.Selector)
	if err != nil || !selector.Matches(labels.Set(pod.Labels)) {
		t.Errorf("%v selects no %v, %v", selector, pod.Labels, err)
	}
	if len(pod.Spec.Containers) != 1 || len(pod.Spec.Volumes) != 1 {
		t.Fatalf("%d containers, %d volumes", len(pod.Spec.Containers), len(pod.Spec.Volumes))
	}
	container, volume := pod.Spec.Containers[0], pod.Spec.Volumes[0]
	if !pod.Spec.HostPID || volume.ConfigMap == nil || volume.ConfigMap.Name != config.Name {
		t.Errorf("%v, %v", pod.Spec.HostPID, volume)
	}
	mount := container.VolumeMounts[0]
	if mount.Name != volume.Name || container.Args[2] != mount.MountPath+"/agent.toml" || config.Data["agent.toml"] == "" {
		t.Errorf("%v, %v", mount, container.Args)
	}
	for _, probe := range []*core.Probe{container.ReadinessProbe, container.LivenessProbe} {
		if probe.HTTPGet == nil || probe.HTTPGet.Port.StrVal != container.Ports[0].Name {
			t.Errorf("%v", probe)
		}
	}
	requests, limits := container.Resources.Requests, container.Resources.Limits
	for _, name := range []core.ResourceName{core.ResourceCPU, core.ResourceMemory} {
		request, limit := requests[name], limits[name]
		if request.IsZero() || request.Cmp(limit) > 0 {
			t.Errorf("%s: %v of at most %v", name, request, limit)
		}
	}
	if memory := limits[core.ResourceMemory]; memory.Cmp(resource.MustParse("64Mi")) < 0 {
		t.Errorf("%v are less than the agent may take", memory)
	}
	if may := container.SecurityContext; *may.Privileged || *may.AllowPrivilegeEscalation || !*may.ReadOnlyRootFilesystem {
		t.Errorf("%v", may)
	}

	// The configuration is for the agent to check.
	if path := os.Getenv("USDT_AGENT_CONFIG"); path != "" {
		if err := os.WriteFile(path, []byte(config.Data["agent.toml"]), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

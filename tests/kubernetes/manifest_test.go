// Package kubernetes checks the manifests in packaging/ with the types of the Kubernetes API.
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

// Every document has a known kind and only known fields, and references between documents resolve.
func TestManifestIsValid(t *testing.T) {
	manifest, err := os.ReadFile("../../packaging/daemonset.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var config core.ConfigMap
	var daemonSet apps.DaemonSet
	documents := yaml.NewDocumentDecoder(io.NopCloser(bytes.NewReader(manifest)))
	for _, object := range []any{&config, &daemonSet} {
		document := make([]byte, 1<<16)
		n, err := documents.Read(document)
		if err != nil {
			t.Fatal(err)
		}
		if err := strict.UnmarshalStrict(document[:n], object); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := documents.Read(make([]byte, 1<<16)); err != io.EOF {
		t.Errorf("got another document of %d bytes, error %v, want end of file", n, err)
	}
	if config.Kind != "ConfigMap" || config.APIVersion != "v1" || daemonSet.Kind != "DaemonSet" || daemonSet.APIVersion != "apps/v1" {
		t.Errorf("got kinds %v and %v, want a ConfigMap and a DaemonSet", config.TypeMeta, daemonSet.TypeMeta)
	}

	pod := daemonSet.Spec.Template
	selector, err := meta.LabelSelectorAsSelector(daemonSet.Spec.Selector)
	if err != nil || !selector.Matches(labels.Set(pod.Labels)) {
		t.Errorf("selector %v does not match the labels %v, error %v", selector, pod.Labels, err)
	}
	if len(pod.Spec.Containers) != 1 || len(pod.Spec.Volumes) != 1 {
		t.Fatalf("got %d containers and %d volumes, want one of each", len(pod.Spec.Containers), len(pod.Spec.Volumes))
	}
	container, volume := pod.Spec.Containers[0], pod.Spec.Volumes[0]
	if !pod.Spec.HostPID || volume.ConfigMap == nil || volume.ConfigMap.Name != config.Name {
		t.Errorf("hostPID is %v, want true; the volume is %v, want the ConfigMap %s", pod.Spec.HostPID, volume, config.Name)
	}
	mount := container.VolumeMounts[0]
	if mount.Name != volume.Name || container.Args[2] != mount.MountPath+"/agent.toml" || config.Data["agent.toml"] == "" {
		t.Errorf("the arguments %v do not name the configuration in the mount %v", container.Args, mount)
	}
	for _, probe := range []*core.Probe{container.ReadinessProbe, container.LivenessProbe} {
		if probe.HTTPGet == nil || probe.HTTPGet.Port.StrVal != container.Ports[0].Name {
			t.Errorf("the probe %v does not use the container's port", probe)
		}
	}
	requests, limits := container.Resources.Requests, container.Resources.Limits
	for _, name := range []core.ResourceName{core.ResourceCPU, core.ResourceMemory} {
		request, limit := requests[name], limits[name]
		if request.IsZero() || request.Cmp(limit) > 0 {
			t.Errorf("%s: the request is %v and the limit is %v", name, request, limit)
		}
	}
	if memory := limits[core.ResourceMemory]; memory.Cmp(resource.MustParse("64Mi")) < 0 {
		t.Errorf("the memory limit is %v, but the agent may use 64Mi", memory)
	}
	if security := container.SecurityContext; *security.Privileged || *security.AllowPrivilegeEscalation || !*security.ReadOnlyRootFilesystem {
		t.Errorf("the container has more privileges than necessary: %v", security)
	}

	// The suite passes a path to which the configuration is written, and checks it with the agent.
	if path := os.Getenv("USDT_AGENT_CONFIG"); path != "" {
		if err := os.WriteFile(path, []byte(config.Data["agent.toml"]), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

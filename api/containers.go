package api

import (
	"context"
	"errors"
	"fmt"

	"vvsim/vvol"
)

// showContainer is how the API shows a container.
func showContainer(c vvol.StorageContainer, u vvol.ContainerUsage) Container {
	return Container{ID: c.ID.String(), Name: c.Name, SizeBytes: c.Size, UsedBytes: u.Used, LogicalBytes: u.Logical,
		ReservedBytes: u.Reserved, Volumes: u.Volumes, ServiceLevels: c.ServiceLevels, WarnPercentUsed: u.WarnPercent, Created: c.Created}
}

func (h *handlers) describeContainer(ctx context.Context, c vvol.StorageContainer) (*out[Container], error) {
	u, err := h.o.Service.ContainerUsage(ctx, c.ID.String())
	if err != nil {
		return nil, problem(err)
	}
	return &out[Container]{showContainer(c, u)}, nil
}

func (h *handlers) listContainers(ctx context.Context, in *Paging) (*list[Container], error) {
	found := h.o.Service.Containers()
	all := &list[Container]{Total: len(found), Body: []Container{}}
	for _, c := range cut(found, *in) {
		u, err := h.o.Service.ContainerUsage(ctx, c.ID.String())
		if errors.Is(err, vvol.ErrNotFound) {
			continue // deleted meanwhile
		}
		if err != nil {
			return nil, problem(err)
		}
		all.Body = append(all.Body, showContainer(c, u))
	}
	return all, nil
}

type containerBody struct {
	Body struct {
		Name          string              `json:"name"`
		SizeBytes     uint64              `json:"sizeBytes"`
		ServiceLevels []vvol.ServiceLevel `json:"serviceLevels,omitempty"`
	}
}

func (h *handlers) createContainer(ctx context.Context, in *containerBody) (*out[Container], error) {
	c, err := h.o.Service.CreateContainer(ctx, vvol.ContainerSpec{Name: in.Body.Name, Size: in.Body.SizeBytes, ServiceLevels: in.Body.ServiceLevels})
	if err != nil {
		return nil, problem(err)
	}
	return h.describeContainer(ctx, c)
}

func (h *handlers) showContainer(ctx context.Context, in *ref) (*out[Container], error) {
	c, err := h.o.Service.Container(in.ID)
	if err != nil {
		return nil, problem(err)
	}
	return h.describeContainer(ctx, c)
}

type sizeBody struct {
	ID   string `path:"id"`
	Body struct {
		SizeBytes uint64 `json:"sizeBytes"`
	}
}

type containerUpdateBody struct {
	ID   string `path:"id"`
	Body struct {
		SizeBytes     uint64              `json:"sizeBytes,omitempty"`
		ServiceLevels []vvol.ServiceLevel `json:"serviceLevels,omitempty" doc:"all of them, the default first; volumes keep the quality that they have"`
	}
}

func (h *handlers) updateContainer(ctx context.Context, in *containerUpdateBody) (*out[Container], error) {
	if in.Body.SizeBytes == 0 && in.Body.ServiceLevels == nil {
		return nil, problem(fmt.Errorf("%w: neither sizeBytes nor serviceLevels", vvol.ErrInvalid))
	}
	c, err := h.o.Service.UpdateContainer(ctx, in.ID, vvol.ContainerUpdate{Size: in.Body.SizeBytes, ServiceLevels: in.Body.ServiceLevels})
	if err != nil {
		return nil, problem(err)
	}
	return h.describeContainer(ctx, c)
}

func (h *handlers) deleteContainer(ctx context.Context, in *ref) (*struct{}, error) {
	return nil, problem(h.o.Service.DeleteContainer(ctx, in.ID))
}
